"""A run as one page to explore: `vkdnw report RUN`, and `Run.report` in Python."""

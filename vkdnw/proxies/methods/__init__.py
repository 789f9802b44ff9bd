"""One training-free score a file: the computation, and the :class:`Proxy` that describes it."""

"""The command `vkdnw`: one file per subcommand, put together here.

No subcommand imports torch before it runs, so that `--help` answers at once.
"""

from vkdnw.search.cli.app import app, main

__all__ = ["app", "main"]

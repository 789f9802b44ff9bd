"""Foreign text on a terminal: names, paths and reasons may contain control sequences."""

import re

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters but for tab and new line, and those that turn the direction of writing."""


def printable(text: str) -> str:
    r"""The text with every control character of a terminal escaped, as in ``\x1b[31m``."""
    return _COMMANDS.sub(lambda found: _spelt(ord(found[0])), text)


def _spelt(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

"""Reading architectures that are written as Python literals, as NASLib writes its own."""

import ast


def literal(text: str) -> object:
    """The value of a tuple, list or dict of numbers and strings, or None where the text is none.

    Nothing of the text is executed.
    """
    if not isinstance(text, str) or not text.lstrip().startswith(("(", "[", "{")):
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def integers(text: str) -> tuple[int, ...] | None:
    """The integers of a tuple or list of nothing else, or None where the text is none."""
    value = literal(text)
    if not isinstance(value, tuple | list) or not all(type(item) is int for item in value):
        return None
    return tuple(value)

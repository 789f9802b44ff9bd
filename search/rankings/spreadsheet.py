"""Text in tables that people open in spreadsheets, where a cell may be taken for a formula.

Spreadsheets evaluate a cell that begins with ``=``, ``+``, ``-`` or ``@``. Such text is written
behind an apostrophe, which they read as "this is text", and read back without it. Numbers are left
as they are: ``-1.5`` is no formula.
"""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def quoted(text: str) -> str:
    """The text as a cell that no spreadsheet evaluates."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def unquoted(cell: str) -> str:
    """The text that `quoted` was given."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell

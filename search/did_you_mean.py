""" "Did you mean ...?" for a misspelt name."""

from collections.abc import Iterable
from difflib import get_close_matches


def meant(name: str, known: Iterable[str], count: int = 1) -> str:
    """`; did you mean 'jacov'?` to end a refusal, or a full stop where no name is near."""
    close = get_close_matches(name, list(known), n=count, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else "."

"""Checks of the sizes and options that spaces are given, with one message each."""

from collections.abc import Collection


def check_sizes(*, least: int = 1, **sizes: object) -> None:
    """Raise ValueError for a size that is no integer, or less than the least allowed."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {size!r}")


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise ValueError for a value that is not among the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(str, choices))}, got {value!r}")

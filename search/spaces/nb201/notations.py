"""Notations in which architectures of NAS-Bench-201 are published, besides the string."""

from vkdnw.search.spaces.nb201 import architecture
from vkdnw.search.spaces.nb201.all_architectures import enumerate as all_architectures
from vkdnw.search.spaces.nb201.architecture import CONV_1X1, CONV_3X3, NONE, POOL, SKIP
from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.spaces.shared.notation import integers

_NASLIB_OPERATIONS = (SKIP, NONE, CONV_3X3, CONV_1X1, POOL)
_FROM_NASLIB = (0, 1, 3, 2, 4, 5)
"""Where NASLib's tuple has each edge: it lists 1<-0, 2<-0, 3<-0, 2<-1, 3<-1, 3<-2."""


def read(text: str) -> str:
    """The string of an architecture in any known notation.

    Its own; NATS-Bench's index; or NASLib's tuple of six numbers, of which 0 is a skip connection
    and 1 is none.

    Raises:
        ArchitectureError: the text is none of these.
    """
    numbers = integers(text)
    if numbers is not None:
        if len(numbers) != 6 or not all(0 <= n < len(_NASLIB_OPERATIONS) for n in numbers):
            raise ArchitectureError(f"{text!r}: expected six operations 0 to 4")
        return architecture.format([_NASLIB_OPERATIONS[numbers[place]] for place in _FROM_NASLIB])
    if isinstance(text, str) and text.isascii() and text.isdigit():
        every = all_architectures()
        if int(text) >= len(every):
            raise ArchitectureError(f"index {text}: there are {len(every)} architectures")
        return every[int(text)]
    architecture.validate(text)
    return text

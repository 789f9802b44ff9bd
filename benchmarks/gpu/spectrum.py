"""vkdnw::low_rank_spectrum against torch.linalg.eigvalsh and cuSOLVER's batched solver.

A batch of 64 matrices of 128x128, and the factor of one NAS-Bench-201 network, [576, 128] float64.
eigvalsh is given the Gram matrices, ready made: forming them is not counted.

    python benchmarks/gpu/spectrum.py [--device cpu] [--small] [--repeats N]
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from clock import milliseconds, options, tell
from torch import Tensor

from vkdnw.ops.spectrum import low_rank_spectrum


@contextmanager
def linalg_library(name: str) -> Iterator[None]:
    before = torch.backends.cuda.preferred_linalg_library()
    torch.backends.cuda.preferred_linalg_library(name)
    try:
        yield
    finally:
        torch.backends.cuda.preferred_linalg_library(before)


def relative_error(found: Tensor, factor: Tensor) -> float:
    """Of eigenvalues above 1e-6 of the largest, against the CPU in float64."""
    expected = low_rank_spectrum(factor.cpu().double())
    large = expected > 1e-6 * expected[..., -1:]
    return float(((found.cpu().double() - expected) / expected)[large].abs().max())


def main() -> None:
    o = options(__doc__ or "")
    torch.manual_seed(0)
    shapes = ((4, 32, 32), (72, 16)) if o.small else ((64, 128, 128), (576, 128))
    for shape in shapes:
        for dtype in (torch.float32, torch.float64):
            factor = torch.randn(shape, dtype=torch.float64).to(o.device, dtype)
            gram = factor.mT @ factor
            title = f"{list(shape)} {str(dtype)[6:]}"
            ours = milliseconds(lambda f=factor: low_rank_spectrum(f), o.device, o.repeats)
            error = relative_error(low_rank_spectrum(factor), factor)
            tell(f"op (c), {title}", ours, "ms", largest_relative_error=error)
            for library in ("default", "cusolver") if o.device.type == "cuda" else ("default",):
                with linalg_library(library):
                    theirs = milliseconds(
                        lambda g=gram: torch.linalg.eigvalsh(g), o.device, o.repeats
                    )
                tell(
                    f"op (c), {title}: times faster than eigvalsh ({library})",
                    theirs / ours, "x", milliseconds_of_eigvalsh=theirs,
                )  # fmt: skip


if __name__ == "__main__":
    main()

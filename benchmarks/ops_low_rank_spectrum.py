"""vkdnw::low_rank_spectrum against torch's svdvals of the factor and eigvalsh of its Gram matrix.

Random factors, plain and with columns scaled from 1 to 1e-4 as those of networks are. 576 x 128 is
the factor of NAS-Bench-201: 64 samples of 9 rows. Medians in ms. The errors are the largest
relative error of any eigenvalue; in float32 against the op in float64, in float64 against the op
on the factor with its rows in another order, which tells what of the digits is noise.

The versions do not do the same: eigvalsh loses every eigenvalue below eps of the largest, svdvals
every singular value below it. Matrices of a batch run on as many threads as there are.

    python benchmarks/ops_low_rank_spectrum.py [--threads N] [--repeats N] [--json]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from measure import Table, arguments, medians
from torch import Tensor

from vkdnw.ops.spectrum import low_rank_spectrum

SHAPES = ((1, 576, 128), (8, 576, 128), (1, 128, 128), (64, 128, 128), (8, 128, 576))
DECADES = (0, 4)


def by_svd(factor: Tensor) -> Tensor:
    values: Tensor = torch.linalg.svdvals(factor)
    return values.flip(-1).square()


def by_gram(factor: Tensor) -> Tensor:
    tall = factor if factor.shape[-2] >= factor.shape[-1] else factor.mT
    spectrum: Tensor = torch.linalg.eigvalsh(tall.mT @ tall)
    return spectrum


VERSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "svdvals": by_svd,
    "eigvalsh": by_gram,
    "vkdnw": low_rank_spectrum,
}


def reference(factor: Tensor) -> Tensor:
    if factor.dtype == torch.float32:
        return low_rank_spectrum(factor.double())
    order = torch.randperm(factor.shape[-2], generator=torch.Generator().manual_seed(1))
    return low_rank_spectrum(factor[..., order, :])


def main() -> None:
    options = arguments(__doc__ or "")
    columns = (
        "batch", "M", "P", "decades", "dtype", "svdvals ms", "eigvalsh ms", "vkdnw ms",
        "/ svdvals", "/ eigvalsh", "svd error", "eigh error", "our error",
    )  # fmt: skip
    table = Table(columns, options.json)
    for shape in SHAPES:
        for decades in DECADES:
            for dtype in (torch.float64, torch.float32):
                torch.manual_seed(0)
                scale = torch.logspace(0, -decades, shape[-1], dtype=torch.float64)
                factor = (torch.randn(shape, dtype=torch.float64) * scale).to(dtype)
                exact = reference(factor).double()
                error = {
                    name: ((f(factor).double() - exact) / exact).abs().max().item()
                    for name, f in VERSIONS.items()
                }
                calls = {name: lambda f=f, a=factor: f(a) for name, f in VERSIONS.items()}
                times = medians(calls, options.repeats)
                table.add(
                    *shape, decades, str(dtype)[6:],
                    times["svdvals"], times["eigvalsh"], times["vkdnw"],
                    times["svdvals"] / times["vkdnw"], times["eigvalsh"] / times["vkdnw"],
                    error["svdvals"], error["eigvalsh"], error["vkdnw"],
                )  # fmt: skip


if __name__ == "__main__":
    main()

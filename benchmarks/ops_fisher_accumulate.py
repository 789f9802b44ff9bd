"""vkdnw::fisher_accumulate_ and fisher_factor against two compositions of torch operations.

The composed accumulations are the factor (suffix sums by cumsum) times itself, and the Jacobian
times its product with the explicit covariance; the ratio is to the faster of the two. float64
sums of a float32 Jacobian, 64 x 10 x 128 being the shape of NAS-Bench-201. Medians in ms.

    python benchmarks/ops_fisher_accumulate.py [--threads N] [--repeats N] [--json]
"""

from __future__ import annotations

import torch
from measure import Table, arguments, medians
from torch import Tensor

from vkdnw.ops.fisher import fisher_accumulate_, fisher_factor

CASES = (  # samples, classes, columns
    (64, 10, 128),
    (8, 10, 128),
    (64, 100, 128),
    (8, 1000, 128),
    (64, 10, 512),
    (64, 10, 2000),
)


def composed_factor(jacobian: Tensor, p: Tensor) -> Tensor:
    """L^T J of every sample, [B * (C - 1), P]."""
    q = p.flip(1).cumsum(1).flip(1)  # [B, C]: p_j and all after
    q_before, p_own, q = q[:, :-1], p[:, :-1], q[:, 1:]
    weighted = p_own[:, :, None] * jacobian
    rest = weighted.flip(1).cumsum(1).flip(1) - weighted  # [B, C - 1, P]
    own = (p_own * q / q_before).sqrt()
    return (own[:, :, None] * (jacobian - rest / q[:, :, None])).flatten(0, 1)


def by_factor(fisher: Tensor, jacobian: Tensor, p: Tensor) -> Tensor:
    factor = composed_factor(jacobian.double(), p)
    return fisher.addmm_(factor.T, factor)


def by_covariance(fisher: Tensor, jacobian: Tensor, p: Tensor) -> Tensor:
    wide = jacobian.double()
    own = p[:, :-1]
    covariance = torch.diag_embed(own) - own[:, :, None] * own[:, None, :]
    return fisher.addmm_(wide.flatten(0, 1).T, (covariance @ wide).flatten(0, 1))


def main() -> None:
    options = arguments(__doc__ or "")
    columns = (
        "B", "C", "P", "factor@ ms", "covar@ ms", "vkdnw ms", "ratio", "error",
        "factor ms", "vkdnw fac.", "ratio fac.",
    )  # fmt: skip
    table = Table(columns, options.json)
    for samples, classes, width in CASES:
        torch.manual_seed(0)
        jacobian = torch.randn(samples, classes - 1, width)
        p = torch.randn(samples, classes, dtype=torch.float64).softmax(1)
        fisher = torch.zeros(width, width, dtype=torch.float64)
        exact = by_factor(torch.zeros_like(fisher), jacobian, p)
        ours = fisher_accumulate_(torch.zeros_like(fisher), jacobian, p)
        times = medians(
            {
                "factor": lambda f=fisher, j=jacobian, p=p: by_factor(f, j, p),
                "covariance": lambda f=fisher, j=jacobian, p=p: by_covariance(f, j, p),
                "vkdnw": lambda f=fisher, j=jacobian, p=p: fisher_accumulate_(f, j, p),
                "factor alone": lambda j=jacobian, p=p: composed_factor(j.double(), p),
                "vkdnw factor": lambda j=jacobian, p=p: fisher_factor(j, p),
            },
            options.repeats,
        )
        best = min(times["factor"], times["covariance"])
        table.add(
            samples, classes, width, times["factor"], times["covariance"], times["vkdnw"],
            best / times["vkdnw"], ((ours - exact).norm() / exact.norm()).item(),
            times["factor alone"], times["vkdnw factor"],
            times["factor alone"] / times["vkdnw factor"],
        )  # fmt: skip


if __name__ == "__main__":
    main()

"""The golden networks of the proxies, with their inputs and expected values."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tests.shared import golden_cases, golden_path
from vkdnw.proxies import Inputs
from vkdnw.search.spaces import nb201

CASES = golden_cases("s1_all_conv3x3", "s2_skips", "s3_pools", "s4_one_conv", "s5_all_none")


@dataclass(frozen=True)
class Golden:
    """One network, its inputs, and the values of the published code."""

    model: nn.Module
    features: tuple[str, ...]
    inputs: Inputs
    scores: dict[str, float]
    arrays: dict[str, Tensor]  # the numbers that the scores were made of


@functools.cache
def golden(name: str, dtype: torch.dtype, weights: str = "weights.npz") -> Golden:
    """A golden case; ``weights`` replace some of those of weights.npz."""
    folder = golden_path(name)
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    model = nb201.build(case["arch"], case["C"], case["N"], case["num_classes"])
    state = dict(np.load(folder / "weights.npz")) | dict(np.load(folder / weights))
    model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    arrays = {key: torch.from_numpy(array) for key, array in np.load(folder / "inputs.npz").items()}
    x1, x2 = arrays["x1"].to(dtype), arrays["x2"].to(dtype)
    signs = tuple(
        2.0 * arrays[f"az_bern_{k}"].to(dtype) - 1.0 for k in range(int(arrays["n_bern"]))
    )
    scores = case["scores_f64" if dtype == torch.float64 else "scores_f32"]
    return Golden(
        model=model.to(dtype),
        features=("stem", *(f"cells.{cell}" for cell in range(len(model.cells)))),
        inputs=Inputs(
            noise=x1,
            noise_labels=arrays["y1"],
            perturbation=x2,
            signs=signs,
            images=x1,
            labels=arrays["y1"],
            second_images=x2,
            second_labels=arrays["y2"],
        ),
        scores={key: float(value) for key, value in scores.items()},
        arrays={key: torch.from_numpy(array) for key, array in np.load(folder / "aux.npz").items()},
    )

"""Scores of the Fisher matrix of weight matrices that do not count layers, or count them by size.

All take a few scalars of each weight that multiplies (:func:`vkdnw.weights.matrices`): no class
token, table of positions or parameter of normalisation, whose derivatives may be equal by
construction. They differ from VKDNW (Tybl and Neumann, CVPR 2025) in the function of the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

import vkdnw.api
from vkdnw.proxies.eigenvalues import eigenvalues_of_all
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.value import Value, checked, undefined
from vkdnw.runtime.call_lock import from_within
from vkdnw.weights import DEFAULT, WeightChoice, matrices, select

REFERENCE = "this package, after Tybl and Neumann, VKDNW, CVPR 2025"

PER_LAYER = 16
"""Scalars of each weight, for scores of single layers."""

ALL = 2**31
"""More weights than any model has."""

EPSILON = 1e-6
"""Added to eigenvalues before their logarithm, as a share of the layer's mean eigenvalue."""


def entropy_of_matrices(call: Call) -> Value:
    """VKDNW's entropy of deciles, with the first scalar of each weight matrix.

    The first 128 weight matrices count. Source: Tybl and Neumann, section 3, but for the choice.
    """
    return Value(_score(call, matrices()).vkdnw)


def entropy_after_one_batch(call: Call) -> Value:
    """VKDNW with BatchNorm's statistics those of the batch, and the usual scalars.

    At initialisation running means are 0 and variances 1, so BatchNorm is the identity in eval mode
    and features grow or shrink with depth. Here one pass in train mode over the batch sets them
    first. A model without BatchNorm has VKDNW's own value.
    """
    _set_statistics(call)
    return Value(_score(call).vkdnw)


def normalised_entropy(call: Call) -> Value:
    """Entropy of the whole normalised spectrum, divided by log P: from 0 to 1 at any depth.

    P is the number of scalars, one of each weight matrix. exp of the entropy is the spectrum's
    effective rank (Roy and Vetterli, 2007), so the value compares log effective rank with log P.
    """
    spectrum = _score(call, matrices()).eigenvalues
    if len(spectrum) < 2:
        return undefined("the model has one weight matrix, whose spectrum is one number")
    shares = spectrum.clamp(min=0.0) / spectrum.clamp(min=0.0).sum()
    return checked(float(torch.special.entr(shares).sum()) / math.log(len(spectrum)))


def sum_of_dimensions(call: Call) -> Value:
    """Sum over layers of tr(F_l)^2 / tr(F_l^2), the effective dimension of a layer: 1 to 16.

    F_l is the block of the Fisher matrix that belongs to 16 scalars of one weight, evenly spaced.
    A layer whose block is zero adds 0.
    """
    sums = [torch.stack([block.trace(), block.square().sum()]) for block in _blocks(call)]
    total = 0.0
    for trace, squares in torch.stack(sums).tolist():
        total += trace**2 / squares if squares > 0 else 0.0
    return checked(total)


def mean_log_volume(call: Call) -> Value:
    """Mean over layers of mean log(v / m + 1e-6), v the eigenvalues of F_l and m their mean.

    The logarithm of the determinant of a layer's block, free of its scale and of the number of
    layers: at most about 0, where all directions of every layer count alike. Blocks are those of
    ``fisher_dimension``; layers whose block is zero, or has one scalar, are left out.
    """
    terms = []
    for spectrum in eigenvalues_of_all(list(_blocks(call))):
        mean = float(spectrum.mean())
        if len(spectrum) > 1 and mean > 0:
            terms.append(float((spectrum.clamp(min=0.0) / mean + EPSILON).log().mean()))
    if not terms:
        return undefined("no layer has a block of the Fisher matrix that is not zero")
    return checked(sum(terms) / len(terms))


def _score(call: Call, choice: WeightChoice = DEFAULT) -> vkdnw.Score:
    noise = call.inputs.read("noise")
    with from_within():
        return vkdnw.api.score(call.model, noise, output=call.output, weights=choice)


def _blocks(call: Call) -> Iterator[Tensor]:
    """The diagonal blocks of the Fisher matrix, ``[k, k]`` float64, one a weight matrix."""
    choice = matrices(PER_LAYER, tensors=ALL)
    if "blocks" not in call.shared:
        with from_within():
            fisher = vkdnw.api.fisher(
                call.model, call.inputs.read("noise"), output=call.output, weights=choice
            )
        call.shared["blocks"] = fisher.double()
    fisher, selection = call.shared["blocks"], select(call.model, choice)
    for start, index in zip(selection.offsets, selection.indices, strict=True):
        yield fisher[start : start + len(index), start : start + len(index)]


def _set_statistics(call: Call) -> None:
    """Gives every BatchNorm the statistics of the batch; the caller restores the model."""
    norms = [module for module in call.model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    modes = [module.training for module in call.model.modules()]
    try:
        for norm in norms:
            norm.momentum = 1.0  # the batch's statistics replace the running ones
            norm.train()
        with torch.no_grad():
            call.model(call.inputs.read("noise"))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in zip(call.model.modules(), modes, strict=True):
            module.training = training


def _proxy(name: str, title: str, undefined: str, compute: object) -> Proxy:
    return Proxy(
        name=name,
        title=title,
        reference=REFERENCE,
        input="noise",
        mode="eval",
        init="kaiming_normal",
        cost="backwards",
        undefined=undefined,
        compute=compute,  # type: ignore[arg-type]
    )


vkdnw_matrices = _proxy("vkdnw_matrices", "VKDNW of weight matrices", "never", entropy_of_matrices)
vkdnw_calibrated = _proxy(
    "vkdnw_calibrated", "VKDNW after one batch", "never", entropy_after_one_batch
)
vkdnw_normalised = _proxy(
    "vkdnw_normalised",
    "VKDNW, free of depth",
    "NaN where the model has one weight matrix",
    normalised_entropy,
)
fisher_dimension = _proxy(
    "fisher_dimension", "Effective dimension of layers", "never", sum_of_dimensions
)
fisher_volume = _proxy(
    "fisher_volume", "Log volume of layers", "NaN where every block is zero", mean_log_volume
)

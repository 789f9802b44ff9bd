"""Which operations of a forward pass keep the samples of a batch apart.

Samples lie behind one another along the first axis of a tensor, one or several rows each. An
operation keeps them apart if the rows of a sample in its output depend on the rows of that sample
in its inputs alone; that follows from the operation, its shapes and the axes it was given. An
operation that is not listed may mix samples. If it does not, only the check costs a little more
(:mod:`vkdnw.per_sample.verification`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import torch
from torch import Tensor

Test = Callable[["OperatorCall"], bool]


class OperatorCall:
    """One call of an operator of torch: its arguments, its output, and which tensors are
    constant."""

    def __init__(
        self,
        function: torch._ops.OpOverload,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
        constants: Collection[int],
        samples: int,
    ) -> None:
        """``constants`` are the ids of the tensors given that depend on no sample."""
        self.name, self._places = _signature(function)
        self._args, self._kwargs = args, kwargs
        self.output = output[0] if isinstance(output, tuple | list) and output else output
        self._constants = constants
        self.samples = samples

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument by its name in the schema."""
        if name in self._kwargs:
            return self._kwargs[name]
        place = self._places.get(name, len(self._args))
        return self._args[place] if place < len(self._args) else default

    def tensors(self) -> list[Tensor]:
        """All tensor arguments."""
        return tensors_in((*self._args, *self._kwargs.values()))

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether a tensor that was given depends on no sample."""
        return id(tensor) in self._constants

    def has_rows(self, tensor: Any) -> bool:
        """Whether a tensor may hold as many rows of each sample."""
        return isinstance(tensor, Tensor) and tensor.dim() > 0 and len(tensor) % self.samples == 0


@cache
def _signature(function: torch._ops.OpOverload) -> tuple[str, dict[str, int]]:
    """An operator's name, and its arguments' places by their names: read once, as it takes long."""
    name = function._schema.name.partition("::")[2].removesuffix("_")
    return name, {given.name: place for place, given in enumerate(function._schema.arguments)}


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors among arguments, and in lists of them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += [item for item in value if isinstance(item, Tensor)]
    return found


def address(tensor: Tensor) -> int:
    """Where a tensor's memory begins; 0 where it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # wrappers of torch.func, sparse tensors
        return 0


def keeps_rows(call: OperatorCall) -> bool:
    """Whether the samples in the output of an operation depend on themselves alone."""
    test = _TESTS.get(call.name)
    return test is not None and call.has_rows(call.output) and test(call)


def _elementwise(call: OperatorCall) -> bool:
    """Constants are broadcast over the rows, and rows meet rows of the same axis."""
    shape = call.output.shape
    return all(
        tensor.numel() == 1
        or (tensor.dim() < len(shape) and call.is_constant(tensor))
        or (tensor.dim() == len(shape) and tensor.shape[0] == 1)
        or (tensor.shape[:1] == shape[:1] and not call.is_constant(tensor))
        for tensor in call.tensors()
    )


def _of_input(*names: str) -> Test:
    """One tensor of samples, the others constant; the first axis stays the batch axis."""

    def test(call: OperatorCall) -> bool:
        values = [call.argument(name) for name in names]
        x = next((value for value in values if isinstance(value, Tensor)), None)
        if x is None or x.dim() < 2 or call.output.shape[0] != x.shape[0]:
            return False
        return all(tensor is x or call.is_constant(tensor) for tensor in call.tensors())

    return test


def _each_of_a_stack(call: OperatorCall) -> bool:
    """Products of matrices, or attention, one by one along the first axis."""
    rows = call.output.shape[0]
    return all(
        call.is_constant(tensor) or (tensor.dim() > 2 and tensor.shape[0] in (rows, 1))
        for tensor in call.tensors()
    )


def _same_order(call: OperatorCall) -> bool:
    """Another shape for the same numbers in the same order: samples stay behind one another."""
    return all(call.has_rows(tensor) for tensor in call.tensors())


def _dense_pixels(call: OperatorCall) -> bool:
    """As adaptive pooling to one pixel returns it: with the strides of a channels-last map."""
    x = call.output
    if x.dim() != 4 or x.shape[2:] != (1, 1) or x.stride()[:2] != (x.shape[1], 1):
        return False
    return bool(x.untyped_storage().nbytes() == x.nbytes)


def _other_axes(*names: str) -> Test:
    """Axes are given, and the first is not among them."""

    def test(call: OperatorCall) -> bool:
        x = call.tensors()[0]
        axes = next((a for name in names if (a := call.argument(name)) is not None), None)
        if axes is None or axes == []:
            axes = _DEFAULT_AXES.get(call.name)
        if axes is None:
            return False
        axes = axes if isinstance(axes, tuple | list) else [axes]
        dims = x.dim() + (call.name == "unsqueeze")
        return call.has_rows(x) and all(axis % dims != 0 for axis in axes)

    return test


_DEFAULT_AXES = {"cat": 0, "stack": 0, "slice": 0, "split": 0, "unbind": 0}


def _first_axis_stays(call: OperatorCall) -> bool:
    order = call.argument("dims")
    if order is not None:
        return bool(order[0] % len(order) == 0)
    axes = (call.argument("dim0", 0), call.argument("dim1", 1))
    return all(axis % call.output.dim() != 0 for axis in axes)


def _broadcast_elsewhere(call: OperatorCall) -> bool:
    x = call.tensors()[0]
    return call.has_rows(x) and x.dim() == call.output.dim() and len(x) == len(call.output)


def _padded_elsewhere(call: OperatorCall) -> bool:
    x = call.tensors()[0]
    return len(call.argument("pad", ())) < 2 * x.dim() and len(x) == len(call.output)


def _in_eval_mode(call: OperatorCall) -> bool:
    training = call.argument("training", call.argument("train", False))
    return not training and _of_input("input")(call)


def _within_rows(call: OperatorCall) -> bool:
    shape = call.argument("normalized_shape")
    return len(shape) < call.tensors()[0].dim() and _of_input("input")(call)


_TESTS: dict[str, Test] = {
    **dict.fromkeys(
        (
            *("abs", "add", "addcdiv", "addcmul", "alias", "bitwise_not", "clamp", "clamp_max"),
            *("clamp_min", "clone", "copy", "cos", "detach", "div", "elu", "empty_like", "eq"),
            *("erf", "exp", "fill", "full_like", "ge", "gelu", "gt", "hardsigmoid", "hardswish"),
            *("hardtanh", "le", "leaky_relu", "lerp", "log", "log1p", "logical_and"),
            *("logical_not", "logical_or", "lt", "masked_fill", "maximum", "minimum", "mish"),
            *("mul", "ne", "neg", "ones_like", "pow", "reciprocal", "relu", "round", "rsqrt"),
            *("rsub", "sigmoid", "sign", "silu", "sin", "softplus", "sqrt", "square", "sub"),
            *("tanh", "threshold", "to_copy", "_to_copy", "where", "zeros_like"),
        ),
        _elementwise,
    ),
    **dict.fromkeys(
        (
            *("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool2d_with_indices"),
            *("max_pool3d_with_indices", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"),
            *("upsample_nearest2d", "upsample_bilinear2d", "pixel_shuffle", "prelu"),
            *("_prelu_kernel", "reflection_pad1d", "reflection_pad2d", "replication_pad2d"),
        ),
        _of_input("self", "input"),
    ),
    **dict.fromkeys(("convolution", "mkldnn_convolution", "_convolution"), _of_input("input")),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit"), _in_eval_mode),
    **dict.fromkeys(("cudnn_batch_norm", "_native_batch_norm_legit_no_training"), _in_eval_mode),
    "native_layer_norm": _within_rows,
    "native_group_norm": _of_input("input"),
    "addmm": _of_input("mat1"),
    "linear": _of_input("input"),
    "mm": _of_input("self"),
    "embedding": lambda call: (
        call.is_constant(call.argument("weight")) and not call.argument("scale_grad_by_freq", False)
    ),
    **dict.fromkeys(("bmm", "baddbmm"), _each_of_a_stack),
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention",
        ),
        _each_of_a_stack,
    ),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), _same_order),
    **dict.fromkeys(
        (
            *("amax", "amin", "any", "all", "argmax", "argmin", "cat", "cumsum", "glu"),
            *("max", "mean", "min", "select", "slice", "split", "split_with_sizes", "squeeze"),
            *("stack", "sum", "unbind", "unsqueeze", "var", "var_mean", "std", "flip"),
            *("_softmax", "_log_softmax", "linalg_vector_norm", "norm", "roll"),
        ),
        _other_axes("dim", "dims"),
    ),
    **dict.fromkeys(("permute", "transpose"), _first_axis_stays),
    "as_strided": _dense_pixels,
    "expand": _broadcast_elsewhere,
    "constant_pad_nd": _padded_elsewhere,
    "lift_fresh": lambda call: call.tensors()[0].numel() == 1,
    **dict.fromkeys(("empty", "zeros", "ones", "full", "arange", "scalar_tensor"), lambda _: True),
}
"""By the operators' names; variants that write in place have the entry of the others."""

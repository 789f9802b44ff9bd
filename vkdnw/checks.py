"""Conditions under which a per-sample Jacobian exists; models and batches without it are refused.

The Jacobian of one sample's logits is well defined only if samples do not mix, the model is
deterministic, and every number is finite. Each check raises ValueError with the cause by name
and the remedy; :mod:`vkdnw.per_sample.probing.trace` adds the checks that need a
forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from vkdnw.batch import Batch
from vkdnw.ops import library
from vkdnw.runtime.members import Members

Output = Callable[[Any], Tensor] | str | int | None


def check_model(model: nn.Module, members: Members) -> None:
    """Refuses layers that mix samples or draw at random, and weights that are not finite."""
    for name, module in members.modules.items():
        _check_module(name or type(model).__name__, module)
    parameters, buffers = members.parameters, members.buffers
    if not parameters:
        _refuse_without_parameters(model)
    for name, parameter in parameters.items():
        check_parameter(name, parameter)
    # A sum of magnitudes may be infinite where no number is: then each is looked at.
    if not math.isfinite(_magnitude(parameters.values())):
        for name, parameter in parameters.items():
            check_finite(f"parameter {name}", parameter, "initialise the model anew")
    for name, buffer in buffers.items():
        if buffer.is_inference() and buffer.is_floating_point():
            raise ValueError(f"buffer {name} {_MADE_IN_INFERENCE_MODE}")
    # Masks hold -inf on purpose; NaN never is.
    if math.isnan(_magnitude(buffers.values())):
        for name, buffer in buffers.items():
            if buffer.is_floating_point() and torch.isnan(_readable(buffer)).any():
                raise ValueError(f"buffer {name} holds NaN; initialise the model anew")


_MADE_IN_INFERENCE_MODE = (
    "was made in torch.inference_mode(), so torch records no gradient through it; build or load "
    "the model outside of it (copy.deepcopy(model), outside of it, is a model that can be scored)"
)


def check_kind(model: object) -> None:
    """Refuses an object that is no module."""
    if isinstance(model, nn.Module):
        return
    kind = type(model).__name__
    remedy = ""
    if isinstance(model, type):
        kind, remedy = f"class ({model.__name__})", "; make an instance of it"
    elif kind == "ExportedProgram":
        remedy = "; pass model.module(), exported with a dynamic batch dimension"
    elif kind == "ScriptFunction":
        remedy = "; script or trace a module, which has parameters"
    elif isinstance(model, Mapping):
        remedy = "; load a state dict into its module first"
    elif callable(model):
        remedy = "; pass the module that holds the parameters, with output= for later operations"
    raise TypeError(f"model is a {kind}: expected a torch.nn.Module{remedy}")


def _refuse_without_parameters(model: nn.Module) -> None:
    name = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            f"model={name} is a script without parameters: torch.jit.freeze and "
            "optimize_for_inference turn them into constants; score the module, or the script "
            "before that"
        )
    raise ValueError(
        f"model={name} has no parameters to differentiate; layers that forward() holds in a list, "
        "or weights that are plain tensors, are parameters only in nn.ModuleList and nn.Parameter"
    )


def check_parameter(name: str, parameter: nn.Parameter) -> None:
    """Refuses a parameter with respect to which nothing can be differentiated; ValueError."""
    if isinstance(parameter, nn.parameter.UninitializedParameter):
        raise ValueError(f"parameter {name} is lazy and has no shape yet; run the model once")
    if parameter.is_complex():
        raise ValueError(
            f"parameter {name} is complex, and a derivative with respect to it is no number; "
            "hold its real and imaginary parts as two parameters"
        )
    if parameter.layout != torch.strided:
        raise ValueError(
            f"parameter {name} is sparse ({parameter.layout}), and its scalars cannot be counted; "
            "convert it with to_dense()"
        )
    if parameter.is_inference():
        raise ValueError(f"parameter {name} {_MADE_IN_INFERENCE_MODE}")


def check_device(members: Members) -> None:
    """Refuses a device that the native ops do not run on.

    Raises:
        ValueError: it is neither a CPU nor a CUDA device.
        vkdnw.ops.library.NativeLibraryError: the library holds no CUDA kernels.
    """
    devices = {p.device: None for p in members.parameters.values()}
    if len(devices) > 1:
        raise ValueError(
            f"the model's parameters are on {' and '.join(map(str, devices))}: expected one "
            "device; move the model to it"
        )
    device = next(iter(devices), None)
    if device is None or device.type == "cpu":
        return
    if device.type == "meta":
        raise ValueError(
            "the model is on meta, where tensors hold no numbers; move it with "
            "model.to_empty(device='cpu') and initialise it (vkdnw.initialise)"
        )
    if device.type != "cuda":
        raise ValueError(f"the model is on {device}: expected a CPU or a CUDA device; move it")
    library.require_cuda_kernels()


def _magnitude(tensors: Iterable[Tensor]) -> float:
    """The sum of all magnitudes, NaN if one number is NaN: one transfer from a device for all."""
    floating = [
        _readable(tensor)
        for tensor in tensors
        if tensor.is_floating_point() and not tensor.is_meta  # which forward() may never read
    ]
    if not floating:
        return 0.0
    return float(torch.nn.utils.get_total_norm(floating, norm_type=1.0))


def _readable(tensor: Tensor) -> Tensor:
    """The numbers in a tensor as a dense tensor, of a dtype that torch computes in."""
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.float() if tensor.itemsize == 1 else tensor


def _check_module(name: str, module: nn.Module) -> None:
    kind = type(module).__name__
    if isinstance(module, _BatchNorm):
        if module.running_mean is None:
            raise ValueError(
                f"{name} ({kind}) keeps no running statistics, so samples of a batch mix; build "
                "it with track_running_stats=True, or replace it by GroupNorm"
            )
        if module.training:
            raise ValueError(
                f"{name} ({kind}) is in train mode, where samples of a batch mix; call "
                "model.eval() first"
            )
    if type(module).__module__.startswith(_QUANTISED):
        raise ValueError(
            f"{name} ({kind}) holds quantised weights, through which no gradient flows; score the "
            "model before it is converted"
        )
    rate = _drop_rate(module)
    if rate > 0 and module.training:
        raise ValueError(
            f"{name} ({kind}) is in train mode with dropout {rate}, so the Jacobian would be "
            "random; call model.eval() first"
        )


_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def _drop_rate(module: nn.Module) -> float:
    if isinstance(module, _DropoutNd):
        return module.p
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return module.dropout
    return 0.0


def check_batch(members: Members, batch: Batch) -> None:
    """Refuses inputs that are not finite, or not on the model's device or of its dtype."""
    device = members.device
    dtypes = _computing_dtypes(members)
    for name, tensor in batch.tensors():
        if tensor.device != device:
            raise ValueError(f"{name} is on {tensor.device} and the model on {device}; move one")
        if not tensor.is_floating_point():
            continue
        check_finite(name, tensor, "clean the data")
        if tensor.dim() and dtypes and tensor.dtype not in dtypes:
            raise ValueError(
                f"{name} is {tensor.dtype} and the model's weights are "
                f"{' and '.join(map(str, dtypes))}; convert one of them, or pass dtype= to convert "
                "both"
            )


def _computing_dtypes(members: Members) -> dict[torch.dtype, None]:
    """The dtypes of the weights; a model may hold a few of them in another one, or as integers,
    and eight bits are for storage."""
    dtypes = (p.dtype for p in members.parameters.values() if p.is_floating_point())
    return {dtype: None for dtype in dtypes if dtype.itemsize > 1}


def check_finite(name: str, tensor: Tensor, remedy: str) -> None:
    """Refuses a tensor that holds NaN or an infinity; ValueError."""
    numbers = _readable(tensor)
    if tensor.numel() and not torch.isfinite(torch.stack(torch.aminmax(numbers))).all():
        finite = torch.isfinite(numbers)  # twice the memory of a batch, so only where it is needed
        where = int(torch.nonzero(~finite.flatten())[0])
        value = numbers.flatten()[where].item()
        raise ValueError(f"{name} holds {value} (first at flat index {where}); {remedy}")


def pick_logits(returned: Any, output: Output) -> Tensor:
    """The logits in the model's output.

    Args:
        returned: the model's return value.
        output: a function of it, a key or attribute name, a position, or None for a tensor.

    Raises:
        ValueError: the logits are not found there.
    """
    if callable(output):
        try:
            logits = output(returned)
        except Exception as error:
            raise ValueError(
                f"output= failed on the model's output ({_say(returned)}): "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(logits, Tensor):
            raise ValueError(f"output= gave {_say(logits)}, not a tensor of logits")
    elif output is None:
        logits = returned
    elif isinstance(returned, Mapping) and output in returned:
        logits = returned[output]
    elif isinstance(output, str) and hasattr(returned, output):
        logits = getattr(returned, output)
    elif isinstance(output, int) and isinstance(returned, tuple | list):
        if not -len(returned) <= output < len(returned):
            raise ValueError(f"output={output}: the model returned {len(returned)} values")
        logits = returned[output]
    else:
        raise ValueError(f"output={output!r} is not in the model's output ({_say(returned)})")
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"the model returned {_say(returned)}, not a tensor of logits; say where they are "
            "with output= (a key, an attribute, a position, or a function)"
        )
    return logits


def _say(returned: Any) -> str:
    kind = type(returned).__name__
    if isinstance(returned, Mapping):
        return f"{kind} with keys {', '.join(map(str, returned))}"
    if isinstance(returned, tuple | list):
        return f"{kind} of {len(returned)}"
    return kind


def check_logits(logits: Tensor, samples: int) -> None:
    """Refuses logits that are not ``[samples, C >= 2]`` finite floating-point numbers."""
    shape = list(logits.shape)
    if not logits.is_floating_point():
        raise ValueError(
            f"logits are {logits.dtype}: they must be floating-point scores before any argmax"
        )
    if logits.dim() != 2 or logits.shape[0] != samples:
        raise ValueError(
            f"logits have shape {shape} for {samples} samples: expected [{samples}, classes]; "
            "pick or reshape them with output="
        )
    if logits.shape[1] < 2:
        raise ValueError(
            f"logits have shape {shape}: at least 2 classes are needed (a single logit z of a "
            "binary model stands for the two logits (0, z))"
        )
    check_finite("logits", logits, "the network overflows on this batch; see its initialisation")

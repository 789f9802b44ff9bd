"""What a model and a batch must satisfy before a per-sample Jacobian exists; refusals by name.

The Jacobian of one sample's logits is well defined only if samples do not mix, the model is
deterministic, and every number is finite. Each check raises ValueError with the name of what was
found and what to do about it; :mod:`vkdnw.per_sample.probing.trace` adds the checks that need a
forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from vkdnw.batch import Batch
from vkdnw.ops import native

Output = Callable[[Any], Tensor] | str | int | None


def check_model(model: nn.Module) -> None:
    """Refuses layers that mix samples or draw at random, and weights that are not finite."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: expected a torch.nn.Module")
    for name, module in model.named_modules():
        _check_module(name or type(model).__name__, module)
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ValueError(f"parameter {name} is lazy and has no shape yet; run the model once")
        if parameter.is_complex():
            raise ValueError(
                f"parameter {name} is complex, and a derivative with respect to it is no number; "
                "hold its real and imaginary parts as two parameters"
            )
    # A sum of magnitudes may be infinite where no number is: then each is looked at.
    if not torch.isfinite(_magnitude(parameters.values())):
        for name, parameter in parameters.items():
            _check_finite(f"parameter {name}", parameter, "initialise the model anew")
    buffers = dict(model.named_buffers())
    # Masks hold -inf on purpose; NaN never is.
    if torch.isnan(_magnitude(buffers.values())):
        for name, buffer in buffers.items():
            if buffer.is_floating_point() and torch.isnan(buffer).any():
                raise ValueError(f"buffer {name} holds NaN; initialise the model anew")


def check_device(model: nn.Module) -> None:
    """Refuses a device that the native ops do not run on.

    Raises:
        ValueError: it is neither a CPU nor a CUDA device.
        vkdnw.ops.native.NativeLibraryError: the library holds no CUDA kernels.
    """
    device = next((p.device for p in _parameters(model)), None)
    if device is None or device.type == "cpu":
        return
    if device.type != "cuda":
        raise ValueError(f"the model is on {device}: expected a CPU or a CUDA device; move it")
    native.require_cuda_kernels()


def _parameters(model: object) -> Iterable[Tensor]:
    return model.parameters() if isinstance(model, nn.Module) else ()


def _magnitude(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of all magnitudes, NaN where one number is: a device is asked once for all."""
    floating = [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
    return torch.nn.utils.get_total_norm(floating, norm_type=1.0)


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
    rate = _drop_rate(module)
    if module.training and rate > 0:
        raise ValueError(
            f"{name} ({kind}) is in train mode with dropout {rate}, so the Jacobian would be "
            "random; call model.eval() first"
        )


def _drop_rate(module: nn.Module) -> float:
    if isinstance(module, _DropoutNd):
        return module.p
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return module.dropout
    return 0.0


def check_batch(model: nn.Module, batch: Batch) -> None:
    """Refuses inputs that are not finite, or not on the model's device or of its dtype."""
    parameter = next(model.parameters())
    for name, tensor in batch.tensors():
        if tensor.device != parameter.device:
            raise ValueError(
                f"{name} is on {tensor.device} and the model on {parameter.device}; move one of "
                "them"
            )
        if not tensor.is_floating_point():
            continue
        _check_finite(name, tensor, "clean the data")
        if tensor.dim() and parameter.is_floating_point() and tensor.dtype != parameter.dtype:
            raise ValueError(
                f"{name} is {tensor.dtype} and the model's weights are {parameter.dtype}; convert "
                "one of them, or pass dtype= to convert both"
            )


def _check_finite(name: str, tensor: Tensor, remedy: str) -> None:
    if tensor.numel() and not torch.isfinite(torch.stack(torch.aminmax(tensor.detach()))).all():
        finite = torch.isfinite(tensor)  # twice the memory of a batch, so only where it is needed
        where = int(torch.nonzero(~finite.flatten())[0])
        value = tensor.detach().flatten()[where].item()
        raise ValueError(f"{name} holds {value} (first at flat index {where}); {remedy}")


def pick_logits(returned: Any, output: Output) -> Tensor:
    """The logits in what the model returned.

    Args:
        returned: the model's return value.
        output: a function of it, a key or attribute name, a position, or None for a tensor.

    Raises:
        ValueError: the logits are not found there.
    """
    if callable(output):
        logits = output(returned)
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
        raise ValueError(f"output={output!r} is not in what the model returned ({_say(returned)})")
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
    _check_finite("logits", logits, "the network overflows on this batch; see its initialisation")

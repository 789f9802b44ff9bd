"""A device that computes on the CPU and refuses tensors of another device, as CUDA does.

torch lets Python register a device of its own. Its tensors hold tensors of the CPU; every operator
is run on those, after a look at where its arguments are. So code for a GPU runs without one, with
true numbers: a tensor of the CPU among those of the device is an error, and so is a random draw on
the device. Registering holds for the process, which therefore does nothing else
(`python -m tests.cuda.proxies_elsewhere`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

DEVICE = "elsewhere"


REPLACED: dict[str, Callable[..., Any]] = {}
"""By name, the function that computes an operator of the device, where it is not the CPU's
operator."""


WAITS: Counter[str] = Counter()
"""By name, how often an operator ran for which a host waits for its GPU."""


class MixedDevicesError(AssertionError):
    """An operator was given tensors of the device and of the CPU."""


class DrawnThereError(AssertionError):
    """Random numbers were drawn on the device."""


class _Elsewhere(Tensor):
    """A tensor on the device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _Elsewhere:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(DEVICE, 0),
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"can't convert {DEVICE}:0 device type tensor to numpy")

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def __repr__(self, **_: Any) -> str:
        return f"_Elsewhere({self.held!r})"


TABLES = frozenset({"picks", "affine", "values", "terms", "readings", "matrices", "products"})
"""Arguments of the package's ops that are on the CPU, wherever the others are."""

_COPIES = frozenset({"aten::copy_", "aten::_to_copy", "aten::to"})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = func._schema.name
    positional = zip(func._schema.arguments, args, strict=False)
    given = [value for argument, value in positional if not _is_table(func, argument.name)]
    tensors = list(_tensors([*given, *kwargs.values()]))
    there = [each for each in tensors if isinstance(each, _Elsewhere)]
    here = [each for each in tensors if not isinstance(each, _Elsewhere) and each.dim() > 0]
    if there and here and name not in _COPIES:
        raise MixedDevicesError(f"{name} reads tensors of {DEVICE} and of the CPU")
    if _waits(name, args, kwargs):
        WAITS[name] += 1
    wanted = kwargs.get("device")
    returns_there = bool(there) if wanted is None else torch.device(wanted).type == DEVICE
    if returns_there and torch.Tag.nondeterministic_seeded in func.tags:
        raise DrawnThereError(f"{name} draws random numbers on {DEVICE}")
    if wanted is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    if name == "aten::_to_copy":
        args = (args[0].clone(), *args[1:])  # a copy even where the CPU would need none
    returned = REPLACED.get(name, func)(
        *(_replaced(each, _held) for each in args),
        **{key: _replaced(each, _held) for key, each in kwargs.items()},
    )
    own = {id(each.held): each for each in there}  # in place, an operator returns its argument
    if not returns_there or (name == "aten::copy_" and returned is args[0]):
        return returned
    return _replaced(returned, lambda each: _there(each, own))


_ANSWERS = frozenset(
    {"aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select"}
)


def _waits(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the operator brings numbers of the device to the host, or copies with a wait."""
    if name in _ANSWERS:
        return any(isinstance(each, _Elsewhere) for each in args)
    if name == "aten::copy_":
        target, source, *waited = args
        crosses = isinstance(source, _Elsewhere) != isinstance(target, _Elsewhere)
        return crosses and not any((*waited, kwargs.get("non_blocking")))
    if name == "aten::_to_copy" and kwargs.get("device") is not None:
        to_device = torch.device(kwargs["device"]).type == DEVICE
        from_device = isinstance(args[0], _Elsewhere)
        return from_device != to_device and (from_device or not kwargs.get("non_blocking"))
    return False


def _is_table(func: Any, argument: str) -> bool:
    return func.namespace == "vkdnw" and argument in TABLES


def _tensors(values: Any) -> Iterator[Tensor]:
    """Those among arguments, or in lists of them."""
    for each in values:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, list | tuple):
            yield from _tensors(each)


def _replaced(value: Any, by: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return by(value)
    if isinstance(value, list | tuple):
        return type(value)([_replaced(each, by) for each in value])
    return value


def _held(tensor: Tensor) -> Tensor:
    return tensor.held if isinstance(tensor, _Elsewhere) else tensor


def _there(returned: Tensor, own: dict[int, _Elsewhere]) -> _Elsewhere:
    if isinstance(returned, _Elsewhere):
        return returned
    return own[id(returned)] if id(returned) in own else _Elsewhere(returned)


class _Module:
    """The functions that torch requires of a device's module."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


def register() -> None:
    """Adds the device to the process. To be called before torch's first backward pass."""
    _setup_privateuseone_for_python_backend(DEVICE, _Module())
    for name in ("aten::empty.memory_format", "aten::empty_strided"):
        torch.library.impl(name, "PrivateUse1")(_made(name))


def _made(name: str) -> Callable[..., Tensor]:
    """An operator that makes a tensor, on the device."""
    packet = getattr(torch.ops.aten, name.partition(".")[0].removeprefix("aten::"))

    def make(*args: Any, **kwargs: Any) -> Tensor:
        return _Elsewhere(packet(*args, **kwargs | {"device": torch.device("cpu")}))

    return make

"""Whatever a forward pass does to its model, the model is afterwards as it was, to the last bit."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vkdnw
from vkdnw.runtime.model_state import State, preserved


class Net(nn.Module):
    """``act`` is the side effect of its forward pass."""

    def __init__(self, act: Callable[[Any, Tensor], object], **attributes: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.fc = nn.Linear(6, 6), nn.Linear(6, 3)
        self.register_buffer("mask", torch.ones(6))
        self.act = act
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        features = torch.tanh(self.first(x))
        self.act(self, features)
        return self.fc(features * self.mask)


@dataclasses.dataclass
class Memory:
    """A plain object that a module refers to."""

    last: Tensor | None = None
    steps: int = 0


@dataclasses.dataclass(slots=True)
class Slotted:
    """The same, without a dict."""

    last: Tensor | None = None


def assign(name: str, make: Callable[[Tensor], Any]) -> Callable[[Any, Tensor], None]:
    return lambda model, features: setattr(model, name, make(features))


def in_place(write: Callable[[Any], object]) -> Callable[[Any, Tensor], None]:
    def act(model: Any, features: Tensor) -> None:
        with torch.no_grad():
            write(model)

    return act


def renormed(model: Any, features: Tensor) -> None:
    model.first.weight.data = torch.renorm(model.first.weight.data, p=2, dim=0, maxnorm=0.1)


def masked(model: Any, features: Tensor) -> None:
    model.first.weight.data[:, -1] = 0


def through_numpy(model: Any, features: Tensor) -> None:
    model.first.weight.detach().numpy()[0, 0] += 1


def backward_inside(model: Any, features: Tensor) -> None:
    loss = model.fc(features.detach()).square().sum()
    loss.backward()


def parameter_replaced(model: Any, features: Tensor) -> None:
    model.fc.bias = nn.Parameter(torch.zeros(3))


def module_added(model: Any, features: Tensor) -> None:
    model.late = nn.Linear(2, 2)


def hook_added(model: Any, features: Tensor) -> None:
    model.fc.register_forward_hook(lambda *args: None)


def frozen(model: Any, features: Tensor) -> None:
    model.fc.bias.requires_grad_(False)


def mode_changed(model: Any, features: Tensor) -> None:
    model.fc.train()


def buffer_replaced(model: Any, features: Tensor) -> None:
    model.mask = model.mask.clone()
    model.register_buffer("late", torch.ones(2), persistent=False)


def remembered(model: Any, features: Tensor) -> None:
    model.memory.last = features


def noted_on_a_parameter(model: Any, features: Tensor) -> None:
    model.fc.weight.seen = features


Act = Callable[[Any, Tensor], object]
ACTS: dict[str, tuple[Act, dict[str, Any]]] = {
    "weights of a maximal norm": (renormed, {}),
    "weights under a mask": (masked, {}),
    "weights written through numpy": (through_numpy, {}),
    "weights in place": (in_place(lambda m: m.first.weight.clamp_(-0.1, 0.1)), {}),
    "weights copied": (in_place(lambda m: m.fc.weight.copy_(m.fc.weight * 0.5)), {}),
    "a zero that changes its sign": (in_place(lambda m: m.zero.neg_()), {"zero": torch.zeros(1)}),
    "a parameter replaced": (parameter_replaced, {}),
    "a module added": (module_added, {}),
    "a hook added": (hook_added, {}),
    "a weight frozen": (frozen, {}),
    "a mode": (mode_changed, {}),
    "gradients": (backward_inside, {}),
    "buffers": (buffer_replaced, {}),
    "a buffer in place": (in_place(lambda m: m.mask.mul_(0.5)), {}),
    "an unregistered tensor": (in_place(lambda m: m.count.add_(1)), {"count": torch.zeros(1)}),
    "features": (assign("features", lambda f: f), {"features": None}),
    "an attribute that is new": (assign("late", lambda f: f), {}),
    "an attribute of a parameter": (noted_on_a_parameter, {}),
    "a counter": (lambda m, f: setattr(m, "steps", m.steps + 1), {"steps": 0}),
    "an attribute deleted": (lambda m, f: m.__dict__.pop("once", None), {"once": 1}),
    "a list": (lambda m, f: m.kept.append(f), {"kept": []}),
    "a list cut": (lambda m, f: m.kept and m.kept.pop(), {"kept": [1, 2, 3]}),
    "a deque": (lambda m, f: m.kept.append(f), {"kept": deque([0, 1], maxlen=2)}),
    "a dict": (lambda m, f: m.cache.setdefault("f", f), {"cache": {}}),
    "an ordered dict": (lambda m, f: m.cache.move_to_end("a"), {"cache": OrderedDict(a=1, b=2)}),
    "a dict with defaults": (lambda m, f: m.cache["f"].append(f), {"cache": defaultdict(list)}),
    "dicts in lists in dicts": (lambda m, f: m.cache["a"][0].update(f=f), {"cache": {"a": [{}]}}),
    "a set": (lambda m, f: m.seen.add(len(m.seen)), {"seen": {"a"}}),
    "a namespace": (remembered, {"memory": SimpleNamespace(last=None)}),
    "a dataclass": (lambda m, f: vars(m.memory).update(last=f, steps=1), {"memory": Memory()}),
    "an object with slots": (remembered, {"memory": Slotted()}),
    "an object in a tuple": (lambda m, f: setattr(m.two[1], "last", f), {"two": (1, Memory())}),
    "an array": (lambda m, f: m.sums.__iadd__(1), {"sums": np.zeros(3)}),
    "Python's generator of its own": (lambda m, f: m.rng.random(), {"rng": random.Random(0)}),
    "a generator of numpy": (lambda m, f: m.rng.random(), {"rng": np.random.default_rng(0)}),
    "an old generator of numpy": (lambda m, f: m.rng.rand(), {"rng": np.random.RandomState(0)}),
}


def bits(value: Any) -> Any:
    """Everything in a value, in a form that compares exactly."""
    if isinstance(value, Tensor):
        numbers = value.detach().contiguous().numpy().tobytes()
        gradient = bits(value.grad) if value.is_leaf else None
        where = (id(value), value.data_ptr(), value.requires_grad)
        return (*where, numbers, gradient, bits(vars(value)))
    if isinstance(value, nn.Module):
        return (id(value), type(value), bits(vars(value)))
    if isinstance(value, dict):
        return (id(value), [(key, bits(item)) for key, item in value.items()])
    if isinstance(value, list | tuple | deque):
        return (id(value), [bits(item) for item in value])
    if isinstance(value, set):
        return (id(value), sorted(map(repr, value)))
    if isinstance(value, np.ndarray):
        return (id(value), value.tobytes())
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state())
    if isinstance(value, Slotted):
        return bits(value.last)
    return (id(value), bits(vars(value))) if isinstance(value, SimpleNamespace | Memory) else value


def snip(model: nn.Module, batch: Tensor) -> object:
    return vkdnw.proxies.snip(model, batch, torch.zeros(len(batch)).long())


@pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning")
@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("call", [vkdnw.score, vkdnw.jacobian, snip])
def test_after_a_call_nothing_differs(name: str, call: Callable[..., object]) -> None:
    act, attributes = ACTS[name]
    model = Net(act, **copy.deepcopy(attributes)).eval()
    model.fc.bias.grad = torch.ones(3)
    before = bits(model)
    with contextlib.suppress(ValueError, RuntimeError):  # a model may be refused
        call(model, torch.randn(5, 6))
    assert bits(model) == before
    copy.deepcopy(model)


@pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("call", [vkdnw.score, vkdnw.proxies.naswot])
def test_a_traced_model_forgets_the_methods_that_a_call_looked_up(
    call: Callable[..., object],
) -> None:
    batch = torch.randn(5, 6)
    model = torch.jit.trace(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), batch)
    parts = [model._actual_script_module]
    before = [set(vars(part)) for part in parts]
    call(model.eval(), batch)
    assert [set(vars(part)) for part in parts] == before


STAY = {"a hook added", "a weight frozen", "gradients"}
"""Which a later pass does not read; they are put back at the end."""


@pytest.mark.parametrize("name", [name for name in ACTS if name not in STAY])
def test_between_passes_it_can_be_had_as_it_was(name: str) -> None:
    act, attributes = ACTS[name]
    model = Net(act, **copy.deepcopy(attributes)).eval()
    batch = torch.randn(5, 6)
    with preserved(model) as state:
        seen = []
        for _ in range(4):
            state.rewind()
            seen.append(bits(model))
            model(batch)
    assert len({repr(each) for each in seen}) == 1


def test_rewinding_says_whether_there_was_anything_to_put_back() -> None:
    plain, counting = Net(lambda m, f: None), Net(lambda m, f: m.kept.append(1), kept=[])
    for model, expected in ((plain, False), (counting, True)):
        state = State(model)
        model(torch.randn(2, 6))
        assert state.rewind() is expected
        assert not state.writes
    writing = Net(masked)
    state = State(writing)
    writing(torch.randn(2, 6))
    assert state.rewind()
    assert state.writes


def test_hooks_forwards_and_flags_of_a_call_survive_a_rewind() -> None:
    model = Net(lambda m, f: None)
    state = State(model)
    handle = model.fc.register_forward_hook(lambda *args: None)
    model.fc.__dict__["forward"] = model.fc.forward
    model.fc.weight.requires_grad_(False)
    state.rewind()
    assert handle.id in model.fc._forward_hooks
    assert "forward" in vars(model.fc)
    assert not model.fc.weight.requires_grad
    state.restore()
    assert not model.fc._forward_hooks
    assert "forward" not in vars(model.fc)
    assert model.fc.weight.requires_grad


def test_weights_that_there_is_no_room_to_copy_are_watched_all_the_same() -> None:
    untouched = Net(lambda m, f: None)
    with preserved(untouched, room=0):
        untouched(torch.randn(2, 6))
    renorming = Net(renormed)  # new memory: the old is still there
    before = bits(renorming)
    with preserved(renorming, room=0):
        renorming(torch.randn(2, 6))
    assert bits(renorming) == before
    overwriting = Net(masked)
    refused = pytest.raises(ValueError, match=r"writes into first\.weight .* does not fit in the")
    with refused, preserved(overwriting, room=0):
        overwriting(torch.randn(2, 6))


# ---- shared with others ---------------------------------------------------------------------


def test_what_a_hook_counts_is_its_owners() -> None:
    sizes: list[int] = []
    model = Net(lambda m, f: None).eval()
    model.first.register_forward_hook(lambda layer, args, output: sizes.append(len(output)))
    vkdnw.score(model, torch.randn(5, 6))
    assert sizes


class InItsClass(nn.Module):
    """Keeps a tensor with its graph in the class."""

    cache: dict[str, Tensor] = {}  # noqa: RUF012
    latest: Tensor | None = None

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.fc = nn.Parameter(torch.randn(6, 6)), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        bias = self.cache.setdefault("bias", torch.tanh(self.table))
        type(self).latest = bias
        return self.fc(torch.tanh(x @ bias))


GLOBAL: dict[str, Tensor] = {}


class InAGlobal(InItsClass):
    """Keeps it in a global."""

    def forward(self, x: Tensor) -> Tensor:
        bias = GLOBAL.setdefault("bias", torch.tanh(self.table))
        return self.fc(torch.tanh(x @ bias))


def in_a_closure() -> nn.Module:
    model = InItsClass()
    cache: dict[str, Tensor] = {}
    latest = None

    def forward(x: Tensor) -> Tensor:
        nonlocal latest
        latest = cache.setdefault("bias", torch.tanh(model.table))
        return model.fc(torch.tanh(x @ latest))

    model.forward = forward
    return model


@pytest.mark.parametrize("make", [InItsClass, InAGlobal, in_a_closure])
def test_a_graph_in_a_class_a_global_or_a_closure_is_gone_for_the_next_pass(
    make: Callable[[], nn.Module],
) -> None:
    model, batch = make().eval(), torch.randn(4, 6)
    with preserved(model) as state:
        for _ in range(3):
            state.rewind()
            torch.autograd.grad(model(batch).sum(), model.table)
    model(batch).sum().backward()
    GLOBAL.clear()
    InItsClass.cache.clear()


class Cached(InItsClass):
    """Keeps it in an attribute, from its first pass on."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = {}


@pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning")
def test_a_graph_that_the_caller_has_made_is_still_there() -> None:
    model, batch = Cached().eval(), torch.randn(4, 6)
    logits = model(batch)
    vkdnw.score(model, batch)
    logits.sum().backward()
    with pytest.raises(ValueError, match=r"cache\['bias'\] holds a tensor of an earlier .* empty"):
        vkdnw.score(model, batch)
    model.cache.clear()
    assert vkdnw.score(model, batch).vkdnw > 0


# ---- torch, numpy and Python ----------------------------------------------------------------


def test_global_generators_are_as_before() -> None:
    model = Net(lambda m, f: (random.random(), np.random.rand(), torch.rand(1))).eval()  # noqa: NPY002
    states = random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002
    with preserved(model):
        model(torch.randn(2, 6))
    assert states[0] == random.getstate()
    assert states[1] == repr(np.random.get_state())  # noqa: NPY002
    assert states[2] == torch.get_rng_state().tolist()

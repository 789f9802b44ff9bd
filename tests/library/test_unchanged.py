"""A call leaves model, batch and torch as it found them, also when it raises, wherever it does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.library.cases.case import Case, randomise
from tests.library.cases.in_place import IN_PLACE
from tests.library.cases.networks import pre_activation_network

pytestmark = pytest.mark.usefixtures("two_threads")

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


def threads_of_a_new_thread() -> int:
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return counts[0]


def bits(tensor: Tensor | None) -> Any:
    return None if tensor is None else (id(tensor), tensor.detach().clone().numpy().tobytes())


def state(model: nn.Module, batch: Tensor) -> dict[str, Any]:
    """Everything a call could leave changed, in a form that compares exactly."""
    modules = dict(model.named_modules())
    return {
        "modes": {name: module.training for name, module in modules.items()},
        "parameters": {name: bits(p) for name, p in model.named_parameters()},
        "gradients": {name: bits(p.grad) for name, p in model.named_parameters()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "buffers": {
            (name, key): bits(buffer)
            for name, module in modules.items()
            for key, buffer in module._buffers.items()
        },
        "non-persistent": {n: set(m._non_persistent_buffers_set) for n, m in modules.items()},
        "hooks": {
            (name, kind): dict(getattr(module, kind))
            for name, module in modules.items()
            for kind in HOOKS
        },
        "attributes": {name: set(vars(module)) for name, module in modules.items()},
        "batch": (bits(batch), batch.requires_grad, batch.stride()),
        "random": torch.get_rng_state().numpy().tobytes(),
        "gradients on": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": (torch.get_num_threads(), threads_of_a_new_thread()),
    }


class Busy(nn.Module):
    """Buffers, hooks, gradients and frozen weights; 16 channels, so that layers are fused."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = pre_activation_network(16)
        self.tokens = nn.Embedding(4, 3, max_norm=0.5)
        self.layer = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last", torch.zeros(3))
        self.register_buffer("unset", None)
        self.fail: Callable[[Tensor], None] = lambda images: None

    def forward(self, images: Tensor) -> Tensor:
        self.fail(images)
        self.calls += 1
        self.last = images.detach().mean((0, 2, 3))
        self.unset = torch.ones(1)
        if "late" not in self._buffers:
            self.register_buffer("late", torch.ones(3), persistent=False)
        token = (images[:, 0, 0, 0] > 0).long()
        return self.layer(self.trunk(images) + self.tokens(token)) * self.late * self.scale


MARK = 77.0  # the first pixel of the sample that a failure waits for
SAMPLES = 9


def busy() -> tuple[Busy, Tensor]:
    torch.manual_seed(0)
    model = Busy()
    randomise(model)
    model.eval()
    model.trunk[0].weight.requires_grad_(False)
    model.layer.weight.grad = torch.ones(3, 3)
    model.layer.register_forward_hook(lambda layer, args, output: output + 1)
    model.trunk[1].register_full_backward_hook(lambda layer, given, received: None)
    images = torch.randn(SAMPLES, 3, 8, 8)
    images[-1, 0, 0, 0] = MARK
    return model, images


def whole(**options: Any) -> Callable[[nn.Module, Tensor], None]:
    def call(model: nn.Module, images: Tensor) -> None:
        vkdnw.jacobian(model, images, **options)
        vkdnw.fisher(model, images, **options)
        vkdnw.score(model, images, **options)

    return call


CALLS = {
    "first": whole(),
    "every": whole(weights=vkdnw.weights.spaced(80)),
    "fused": whole(weights={"trunk.2.first.1.weight": [0, 5], "layer.weight": [1]}),
    "float64": whole(dtype=torch.float64),
    "dual": whole(weights=vkdnw.weights.spaced(40), max_memory=4_000_000),
}


@pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_success_changes_nothing(call: Callable[[nn.Module, Tensor], None]) -> None:
    model, images = busy()
    before = state(model, images)
    call(model, images)
    assert state(model, images) == before


def when(condition: Callable[[Tensor], bool], error: BaseException) -> Callable[[Tensor], None]:
    def fail(images: Tensor) -> None:
        if condition(images):
            raise error

    return fail


def nan_weight(model: Busy) -> None:
    with torch.no_grad():
        model.layer.weight[0, 0] = torch.nan


def overflow(model: Busy) -> None:
    """Logits stay finite, and the derivative of one of them does not."""

    class Overflowing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient * torch.inf

    model.trunk[7].register_forward_hook(lambda layer, args, output: Overflowing.apply(output))


def failing(condition: Callable[[Tensor], bool], error: BaseException) -> Callable[[Busy], None]:
    return lambda model: setattr(model, "fail", when(condition, error))


def marked(images: Tensor) -> bool:
    return bool((images[:, 0, 0, 0] == MARK).any())


def random_output(model: Busy) -> None:
    model.trunk.register_forward_hook(lambda layer, args, output: output + torch.rand(()))


FAILURES: dict[str, tuple[Callable[[Busy], None], dict[str, Any], type[BaseException]]] = {
    "weights are checked": (nan_weight, {}, ValueError),
    "the choice is checked": (lambda model: None, {"weights": {"nowhere": [0]}}, ValueError),
    "memory is planned": (lambda model: None, {"max_memory": 1000}, MemoryError),
    "the probe runs": (failing(lambda images: True, OSError("probe")), {}, OSError),
    "logits are picked": (lambda model: None, {"output": "logits"}, ValueError),
    "the probe is repeated": (random_output, {}, ValueError),
    "a chunk runs": (
        failing(marked, OSError("chunk")),
        {"weights": {"layer.weight": [0]}},
        OSError,
    ),
    "the fallback runs": (
        failing(lambda images: marked(images) and len(images) == 1, OSError("fallback")),
        {"weights": {"scale": [0]}},
        OSError,
    ),
    "a derivative is checked": (overflow, {}, ValueError),
    "the user interrupts": (failing(marked, KeyboardInterrupt()), {}, KeyboardInterrupt),
}


@pytest.mark.parametrize(("spoil", "options", "error"), FAILURES.values(), ids=FAILURES.keys())
def test_failure_changes_nothing(
    spoil: Callable[[Busy], None], options: dict[str, Any], error: type[BaseException]
) -> None:
    model, images = busy()
    spoil(model)
    before = state(model, images)
    with pytest.raises(error) as raised:
        vkdnw.score(model, images, **options)
    # The traceback is alive, and with it every frame that was left.
    assert state(model, images) == before, raised


@pytest.mark.parametrize("case", IN_PLACE, ids=lambda case: case.name)
def test_a_model_that_writes_into_its_input_leaves_the_batch(case: Case) -> None:
    model, batch = case.model(), case.batch()
    before = bits(batch)
    vkdnw.jacobian(model, batch)
    assert bits(batch) == before


def test_a_batch_that_requires_gradients_gets_none() -> None:
    model, images = busy()
    images.requires_grad_(True)
    vkdnw.score(model, images)
    assert images.requires_grad
    assert images.grad is None


@pytest.mark.parametrize(
    "context",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.set_grad_enabled(True),
    ],
    ids=["no_grad", "inference_mode", "autocast", "enable_grad"],
)
@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_surrounding_contexts_change_nothing(
    context: Callable[[], Any], dtype: torch.dtype | None
) -> None:
    model, images = busy()
    expected = vkdnw.score(model, images, dtype=dtype)
    with context():
        before = state(model, images)
        fresh = images.clone()  # an inference tensor, where there are such
        found = vkdnw.score(model, fresh, dtype=dtype)
        assert state(model, images) == before
    assert torch.equal(found.eigenvalues, expected.eigenvalues)
    assert found.vkdnw == expected.vkdnw


def test_calls_from_several_threads_do_not_disturb_each_other() -> None:
    jobs = [busy() for _ in range(4)]
    for number, (model, _) in enumerate(jobs):
        with torch.no_grad():
            model.trunk[0].weight.mul_(1 + number)
    expected = [vkdnw.score(model, images).vkdnw for model, images in jobs]
    before = [state(model, images) for model, images in jobs]
    with ThreadPoolExecutor(len(jobs)) as pool:
        found = list(pool.map(lambda job: vkdnw.score(*job).vkdnw, jobs))
    assert found == expected
    assert len(set(found)) == len(jobs)
    assert [state(model, images) for model, images in jobs] == before

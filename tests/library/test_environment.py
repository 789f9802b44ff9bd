"""Threads, default devices, dtypes and torch's settings around a call are the caller's."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.library.cases.case import images
from tests.library.cases.networks import residual_network
from tests.reference import reference_jacobian_by_loop
from vkdnw.runtime.call_lock import from_within, one_call
from vkdnw.runtime.precision import float32_on
from vkdnw.weights import select


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)).eval()


def batch() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


# ---- threads --------------------------------------------------------------------------------


@pytest.fixture
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # races show sooner
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], None], count: int) -> list[BaseException]:
    raised: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.usefixtures("two_threads", "switching_often")
def test_threads_that_share_a_model_get_its_score() -> None:
    model, batch = residual_network().eval(), images()
    expected = vkdnw.score(model, batch)
    wanted = float(vkdnw.proxies.naswot(model, batch))

    def work(number: int) -> None:
        for _ in range(3):
            if number % 2:
                assert vkdnw.score(model, batch) == expected
            else:
                assert float(vkdnw.proxies.naswot(model, batch)) == wanted

    assert not in_threads(work, 4)


@pytest.mark.usefixtures("two_threads", "switching_often")
def test_threads_with_models_of_their_own_leave_torch_as_it_was() -> None:
    models = [residual_network().eval() for _ in range(3)]
    batch = images()
    expected = [vkdnw.score(model, batch) for model in models]
    before = settings()

    def work(number: int) -> None:
        for _ in range(3):
            assert vkdnw.score(models[number], batch) == expected[number]

    assert not in_threads(work, 3)
    assert settings() == before


def settings() -> dict[str, Any]:
    """The settings that torch keeps once for a process, or a thread."""
    return {
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "cudnn": torch.backends.cudnn.deterministic,
        "tf32": torch.backends.cuda.matmul.fp32_precision,
        "device": torch.get_default_device(),
        "dtype": torch.get_default_dtype(),
        "state": torch.get_rng_state().tolist(),
        "fast attention": torch.backends.mha.get_fastpath_enabled(),
    }


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_settings_stay_also_where_a_call_fails(precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.benchmark = True
    model = mlp()
    try:
        before = settings()
        vkdnw.score(model, batch())
        vkdnw.score(model, batch(), mode="forward")
        with pytest.raises(ValueError, match="failed on the first 2 samples"):
            vkdnw.score(model, batch()[:, :3])
        assert settings() == before
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.benchmark = False


def flags() -> dict[str, Any]:
    """The precision of float32 under all of torch's names; None where torch refuses to say."""

    def read(setting: Callable[[], Any]) -> Any:
        try:
            return setting()
        except RuntimeError:
            return None

    return {
        "cudnn": read(lambda: torch.backends.cudnn.allow_tf32),
        "matmul": read(lambda: torch.backends.cuda.matmul.allow_tf32),
        "named": read(torch.get_float32_matmul_precision),
        "conv": torch.backends.cudnn.conv.fp32_precision,
        "rnn": torch.backends.cudnn.rnn.fp32_precision,
        "product": torch.backends.cuda.matmul.fp32_precision,
        "all": torch.backends.fp32_precision,
        "deterministic": torch.backends.cudnn.deterministic,
    }


SETTINGS: dict[str, Callable[[], None]] = {
    "as torch comes": lambda: None,
    "old names": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "a precision by name": lambda: torch.set_float32_matmul_precision("high"),
    "new names": lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "tf32"),
    "names that disagree": lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee"),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("tf32", [True, False])
def test_precision_on_a_gpu_can_be_read_under_all_names_and_is_put_back(
    setting: str, tf32: bool
) -> None:
    gpu = torch.device("cuda")
    SETTINGS[setting]()
    before = flags()
    try:
        with float32_on(gpu, tf32=tf32):
            inside = flags()
            with float32_on(gpu, tf32=tf32):
                assert flags() == inside
            assert flags() == inside
        assert flags() == before
    finally:
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("highest")
    wanted = "tf32" if tf32 else "ieee"
    assert inside["cudnn"] is inside["matmul"] is tf32
    assert inside["named"] == ("high" if tf32 else "highest")
    assert inside["conv"] == inside["rnn"] == inside["product"] == wanted


def test_a_model_may_read_and_enter_torchs_settings() -> None:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def forward(self, x: Tensor) -> Tensor:
            assert torch.is_grad_enabled() or not torch.is_inference_mode_enabled()
            assert torch.backends.cudnn.conv.fp32_precision in ("none", "ieee", "tf32")
            with torch.autocast("cpu", enabled=False):
                return self.net(x)

    assert vkdnw.score(Reading().eval(), batch()).single > 4


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("call", ["score", "naswot"])
def test_a_call_from_within_a_call_is_refused(call: str) -> None:
    model = residual_network().eval()
    inner = mlp()
    model.register_forward_hook(lambda *args: vkdnw.score(inner, batch()) and None)
    outer = vkdnw.score if call == "score" else vkdnw.proxies.naswot
    with pytest.raises(ValueError, match=r"was called while .* was running the model"):
        outer(model, images())
    assert vkdnw.score(inner, batch()).vkdnw > 0


def test_the_package_may_call_itself() -> None:
    with one_call("outer"):
        with from_within(), one_call("inner"):
            pass
        with pytest.raises(ValueError, match="inner was called while outer"), one_call("inner"):
            pass
    with one_call("afterwards"):
        pass


# ---- default device -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_another_default_device_changes_nothing(mode: str) -> None:
    for model, given in ((mlp(), batch()), (residual_network().eval(), images())):
        for weights in (vkdnw.weights.first(), vkdnw.weights.spaced(3), vkdnw.weights.random(9, 1)):
            expected = vkdnw.score(model, given, mode=mode, weights=weights)
            with torch.device("meta"):
                assert vkdnw.score(model, given, mode=mode, weights=weights) == expected


def test_another_default_device_changes_no_matrix_and_no_fallback() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = mlp()
            self.scale = nn.Parameter(torch.ones(6))

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x * self.scale.exp())

    model, plain, given = Tied().eval(), mlp(), batch()
    with pytest.warns(vkdnw.FallbackWarning):
        expected = vkdnw.jacobian(model, given)
    matrix = vkdnw.fisher(plain, given, convention="released")
    torch.set_default_device("meta")
    try:
        with pytest.warns(vkdnw.FallbackWarning):
            assert torch.equal(vkdnw.jacobian(model, given), expected)
        assert torch.equal(vkdnw.fisher(plain, given, convention="released"), matrix)
    finally:
        torch.set_default_device(None)


FACTORIES = {
    *("arange", "as_tensor", "empty", "eye", "full", "linspace", "logspace", "normal", "ones"),
    *("rand", "randint", "randn", "randperm", "tensor", "zeros", "Generator"),
}


def is_factory(node: ast.AST) -> bool:
    """Whether it is a call ``torch.zeros(...)`` that leaves the device to torch."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "torch"
        and node.func.attr in FACTORIES
        and not {"device", None} & {keyword.arg for keyword in node.keywords}
    )


def test_every_tensor_that_the_package_makes_names_its_device() -> None:
    library = Path(vkdnw.__file__).parent
    assert not [
        f"{path.relative_to(library)}:{node.lineno}: {ast.unparse(node)}"
        for path in library.rglob("*.py")
        if path.relative_to(library).parts[0] != "search"
        for node in ast.walk(ast.parse(path.read_text()))
        if is_factory(node)
    ]


# ---- dtypes ---------------------------------------------------------------------------------


class Scaled(nn.Module):
    """A float32 model whose first parameter is of another dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        floating = dtype.is_floating_point
        self.scale = nn.Parameter(torch.full((1,), 2.0).to(dtype), requires_grad=floating)
        self.first, self.fc = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.first(x))) / self.scale.float()


OTHERS = (
    *(torch.float64, torch.float16, torch.bfloat16),
    *(torch.int8, torch.uint8, torch.int64, torch.bool),
)


@pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning")
@pytest.mark.parametrize("dtype", OTHERS, ids=str)
def test_a_first_parameter_of_another_dtype_says_nothing_of_the_model(dtype: torch.dtype) -> None:
    model = Scaled(dtype).eval()
    selection = select(model, vkdnw.weights.first())
    assert ("scale" in selection.names) == dtype.is_floating_point
    expected = reference_jacobian_by_loop(model, batch(), selection)
    found = vkdnw.jacobian(model, batch()).double()
    scale = expected.abs().amax((0, 1))
    assert ((found - expected).abs().amax((0, 1)) <= 1e-4 * scale).all()
    score = vkdnw.score(model, batch())
    assert score.layers == len(selection.names)
    assert vkdnw.score(model, batch(), dtype=torch.float64).layers == score.layers


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_weights_of_eight_bits_are_stored_and_not_differentiated(dtype: torch.dtype) -> None:
    names = select(Scaled(dtype), vkdnw.weights.first()).names
    assert names == ("first.weight", "first.bias", "fc.weight", "fc.bias")
    of_these = {name: [0] for name in names}
    expected = vkdnw.jacobian(Scaled(torch.float32).eval(), batch(), weights=of_these)
    torch.testing.assert_close(vkdnw.jacobian(Scaled(dtype).eval(), batch()), expected)
    assert vkdnw.score(Scaled(dtype).eval(), batch()).layers == 4


def test_integers_are_no_parameters_to_choose() -> None:
    with pytest.raises(ValueError, match=r"'scale', which is no parameter .* or one of integers"):
        vkdnw.score(Scaled(torch.int8).eval(), batch(), weights={"scale": [0]})

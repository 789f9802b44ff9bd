"""Networks as files: read back, they compute the same, with no part of this package."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
import torch
from torch import nn

from tests.search.evolution.fakes import FakeSearch
from vkdnw import search
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run
from vkdnw.search.evolution import history
from vkdnw.search.export import ExportError, network_to_export
from vkdnw.search.export.source import construction, source
from vkdnw.search.export.write import write
from vkdnw.search.spaces.darts import DARTS
from vkdnw.search.spaces.mobilenetv2 import INITIAL, MobileNetV2
from vkdnw.search.spaces.nats_sss import NATSSize
from vkdnw.search.spaces.nb101 import NB101
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.spaces.transnas import TransNASMacro, TransNASMicro

NETWORKS = {
    "mobilenetv2": MobileNetV2(classes=5, resolution=32),
    "squeeze-excitation": MobileNetV2(classes=5, resolution=32, squeeze_excitation=True),
    "no residual": MobileNetV2(classes=5, resolution=32, residual=False),
    "nb201": NB201(channels=4, cells=1, classes=5, resolution=32),
    "nats_sss": NATSSize(classes=5, resolution=32),
    "nb101": NB101(channels=7, stacks=2, cells=1, classes=5, resolution=32),
    "transnas_micro": TransNASMicro(channels=4, classes=5, resolution=32),
    "transnas_macro": TransNASMacro(channels=4, classes=5, resolution=32),
    "darts": DARTS(channels=4, cells=3, classes=5, resolution=32, sampler="swap"),
}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network(name: str) -> nn.Module:
    space = NETWORKS[name]
    torch.manual_seed(0)
    return space.build(space.sample(Random(3))).eval()


def load(text: str, path: Path) -> ModuleType:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NETWORKS)
def test_source_is_the_network_to_the_last_bit(tmp_path: Path, name: str) -> None:
    model = network(name)
    again = load(source(model, "A test."), tmp_path / "written.py").Network()
    assert [n for n, _ in again.named_parameters()] == [n for n, _ in model.named_parameters()]
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(IMAGES), model(IMAGES))
    assert "vkdnw" not in (tmp_path / "written.py").read_text()


def test_source_of_what_cannot_be_written_is_refused() -> None:
    class Deciding(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    class Rolling(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.inv(x)

    with pytest.raises(ExportError, match="tracing it fails"):
        source(Deciding(), "")
    with pytest.raises(ExportError, match=r"operation .*inv.* cannot be written"):
        source(Rolling(), "")
    with pytest.raises(ExportError, match=r"layer a\.b is a Odd, which is not a layer of torch"):
        construction("a.b", type("Odd", (nn.ReLU,), {})())


def test_layers_are_written_with_all_that_differs_from_the_defaults() -> None:
    layers = [
        nn.Conv2d(3, 8, (3, 5), 2, padding=1, groups=1, bias=False, padding_mode="reflect"),
        nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        nn.LayerNorm((8, 8), eps=1e-3),
        nn.ReLU(inplace=True),
    ]
    for layer in layers:
        again = eval(construction("layer", layer), {"nn": nn})
        assert repr(again) == repr(layer)
        assert getattr(again, "count_include_pad", None) == getattr(
            layer, "count_include_pad", None
        )


@pytest.mark.parametrize(
    "form", ["torchscript", "py", pytest.param("onnx", marks=pytest.mark.slow)]
)
def test_files_are_checked_in_a_fresh_process(tmp_path: Path, form) -> None:
    if form == "onnx":
        pytest.importorskip("onnxscript", reason="the extra vkdnw[onnx] is not installed")
    path = tmp_path / "made" / f"network.{form}"
    write(NETWORKS["mobilenetv2"].build(INITIAL), path, form, resolution=32, title="A test.")
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch) -> None:
    model = NETWORKS["mobilenetv2"].build(INITIAL).eval()
    text = source(model, "").replace("return x", "return 1.001 * x")
    monkeypatch.setattr("vkdnw.search.export.write.source", lambda model, title: text)
    with pytest.raises(ExportError, match=r"computes other logits.*differ by 0\.0"):
        write(model, tmp_path / "x.py", "py", resolution=32, title="")
    monkeypatch.setattr("vkdnw.search.export.write.source", lambda model, title: "import nothing_")
    with pytest.raises(ExportError, match="does not load in a fresh process: ModuleNotFound"):
        write(model, tmp_path / "x.py", "py", resolution=32, title="")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    FakeSearch(str(folder), plan={"evaluations": 12}).run_here()
    return folder


def test_the_command_writes_the_best_network_of_a_search(
    searched: Path, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "best.py"
    command = ["export", str(searched), "--best", "--out", str(path), "--resolution", "32"]
    assert run(app, command) == 0
    best = history.load(searched).best()
    assert best in capsys.readouterr().out
    assert best in path.read_text()
    script = "import best; print(len(list(best.Network().parameters())))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == MobileNetV2().cost(best).layers


def test_the_command_takes_trained_weights_and_another_head(searched: Path, tmp_path: Path) -> None:
    opened = search.open(searched)
    space, best = opened.space, opened.best().architecture
    model = network_to_export.network(space, best, classes=7, squeeze_excitation=True)
    torch.save(model.state_dict(), tmp_path / "trained.pt")
    path = tmp_path / "trained.torchscript"
    options = ["--classes", "7", "--squeeze-excitation", "--resolution", "32"]
    options += ["--weights", str(tmp_path / "trained.pt"), "--format", "torchscript"]
    assert run(app, ["export", str(searched), "--arch", best, "--out", str(path), *options]) == 0
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(path)(IMAGES), model.eval()(IMAGES))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--best", "--arch", "x"], "give one of them"),
        (["--arch", "x"], "block 0 at position 0"),
    ],
)
def test_wrong_usage_is_refused(searched: Path, tmp_path: Path, capsys, options, message) -> None:
    assert run(app, ["export", str(searched), "--out", str(tmp_path / "x"), *options]) == 2
    assert message in capsys.readouterr().err

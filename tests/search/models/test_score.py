"""`vkdnw score`: any model, scored as the library does or refused with the reason."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

import vkdnw
from tests.search.models import factories
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run
from vkdnw.search.models.named_models import Source, input_shape
from vkdnw.search.models.scores import Settings, score_model

HERE = "tests.search.models.factories"
OPTIONS = ["--batch-size", "4", "--resolution", "8"]
SETTINGS = Settings(batch_size=4, resolution=8)


def seeded(factory):
    torch.manual_seed(0)
    return factory().eval()


def images():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_score_is_that_of_the_library():
    found = score_model(Source(f"{HERE}:small"), SETTINGS)
    model = seeded(factories.small)
    expected = vkdnw.score(model, images())
    assert found.refused is None
    assert found.values == {"vkdnw": expected.vkdnw, "single": expected.single}
    assert (found.input, found.layers) == ("3x8x8", 5)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_what_has_no_rule_and_what_is_not_read_are_counted():
    found = score_model(Source(f"{HERE}:Scaled"), SETTINGS)
    assert (found.fallback, found.unreached) == (1, 1)


def test_the_paper_s_weights_may_be_drawn():
    found = score_model(Source(f"{HERE}:small"), Settings(4, 8, init="kaiming_normal"))
    model = vkdnw.initialise(seeded(factories.small), seed=0)
    assert found.values["vkdnw"] == vkdnw.score(model, images()).vkdnw


def test_building_leaves_the_global_generator():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    Source(f"{HERE}:small").build(10, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_are_read_from_a_file(tmp_path: Path, suffix: str):
    model = factories.small()
    path = tmp_path / f"state{suffix}"
    if suffix == ".pt":
        torch.save(model.state_dict(), path)
    else:
        pytest.importorskip("safetensors.torch").save_file(model.state_dict(), path)
    built = Source(f"{HERE}:small").build(10, seed=1, weights=path)
    pairs = zip(built.parameters(), model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{HERE}:mixing", r"ValueError: .*samples of a batch mix"),
        (f"{HERE}:no_model", r"ValueError: .* gives a int, not a torch.nn.Module"),
        (f"{HERE}:needs", r"ValueError: .* needs arguments \(width\)"),
        (f"{HERE}:breaks", r"RuntimeError: out of luck"),
        (f"{HERE}:nothing", r"AttributeError: .*nothing"),
        ("no.such.package:f", r"ModuleNotFoundError: No module named 'no'"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_the_reason(name, reason):
    found = score_model(Source(name), SETTINGS)
    assert found.values == {}
    assert re.match(reason, found.refused)


def test_timm_gets_the_classes_and_says_the_resolution(monkeypatch):
    asked = []

    def create_model(name, pretrained, num_classes):
        asked.append((name, pretrained, num_classes))
        model = factories.small()
        model.pretrained_cfg = {"input_size": (3, 12, 10)}
        return model

    timm = ModuleType("timm")
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setattr(timm, "create_model", create_model, raising=False)
    monkeypatch.setattr(timm, "is_model", lambda name: name == "tiny", raising=False)
    assert score_model(Source("timm:tiny"), Settings(batch_size=2, classes=3)).input == "3x12x10"
    assert score_model(Source("timm:tiny"), Settings(2, 16, classes=3)).input == "3x16x16"
    assert asked == [("tiny", False, 3)] * 2


def test_without_timm_the_reason_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    refused = score_model(Source("timm:resnet18"), SETTINGS).refused
    assert refused is not None
    assert "install it with: pip install timm" in refused


def test_a_model_that_says_nothing_of_its_input_gets_the_usual_one():
    assert input_shape(factories.small(), None) == (3, 224, 224)
    assert input_shape(SimpleNamespace(pretrained_cfg=None), 32) == (3, 32, 32)  # type: ignore[arg-type]


def test_the_command_prints_every_model_and_fails_if_one_is_refused(capsys):
    models = [f"{HERE}:small", f"{HERE}:breaks"]
    assert run(app, ["score", models[0], *OPTIONS, "--proxies", "expressivity"]) == 0
    out = capsys.readouterr().out
    assert f"{HERE}:small" in out
    assert "expressivity" in out
    assert run(app, ["score", *models, *OPTIONS, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["rows"]
    assert [one["model"] for one in told] == models
    assert told[1]["refused"] == "RuntimeError: out of luck"
    assert told[0]["refused"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["resnet18"],
            "torchvision:NAME, hf:MODEL or package.module:factory",
        ),
        ([f"{HERE}:small", "--proxies", "nope"], "no proxy is called 'nope'"),
        ([f"{HERE}:small", "--scalars", "nope"], "scalars must be first"),
    ],
)
def test_wrong_usage_is_refused(capsys, arguments, message):
    assert run(app, ["score", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_factories_are_found_in_the_folder_of_the_call(tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\ndef wide():\n    return nn.Linear(2, 2)\n"
    )
    command = [str(Path(sys.executable).parent / "vkdnw"), "score", "mine:wide"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "mine:wide: refused: ValueError: forward() of Linear failed" in done.stdout

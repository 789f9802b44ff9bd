"""Writing a network into a file, and reading the file in a fresh process to compare."""

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from vkdnw.search.atomic_files import written_whole
from vkdnw.search.export.formats import ExportError, Format
from vkdnw.search.export.source import source

TOLERANCE = {"torchscript": 1e-5, "py": 1e-5, "onnx": 1e-3}
"""Relative to the largest logit, in float32. The same kernels in another order round the last bits;
ONNX runs other kernels."""


def write(model: nn.Module, path: Path, form: Format, resolution: int, title: str) -> None:
    """Write a network in eval mode, read it back and compare; the file appears when it is right.

    Args:
        model: maps images [B, 3, resolution, resolution] to logits.
        path: of the file; its folder is made if need be.
        form: `torchscript` and `onnx` hold the weights, `py` holds the network without them.
        resolution: of the images that the file is checked with, and of a TorchScript's example.
        title: the docstring of the file (`py`).

    Raises:
        ExportError: the network cannot be written in this form, or does not compute the same.
        FileError: the file cannot be written; an older file is unchanged.
        ImportError: a package that the form needs is not installed.
    """
    model.eval()
    images = torch.randn(2, 3, resolution, resolution, generator=torch.Generator().manual_seed(0))
    with written_whole(path) as draft:
        if form == "py":
            draft.write_text(source(model, title))
        elif form == "torchscript":
            _write_torchscript(model, images, draft)
        else:
            _write_onnx(model, images, draft)
        _check(model, images, draft, form)


def _write_torchscript(model: nn.Module, images: Tensor, path: Path) -> None:
    try:
        torch.jit.trace(model, images).save(str(path))
    except RuntimeError as error:  # torch's error on a full disk, for one
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise ExportError(f"the TorchScript file cannot be written: {reason}") from error


def _write_onnx(model: nn.Module, images: Tensor, path: Path) -> None:
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise ImportError(
                f"--format onnx needs {package}, which is not installed; install it with: "
                "pip install 'vkdnw[onnx]'"
            )
    torch.onnx.export(
        model,
        (images,),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _check(model: nn.Module, images: Tensor, path: Path, form: Format) -> None:
    """Raise ExportError unless the file computes the model's logits in a process of its own."""
    with torch.inference_mode():
        expected = model(images)
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder)
        torch.save(images, given / "images.pt")
        torch.save(model.state_dict(), given / "state.pt")
        done = subprocess.run(
            [sys.executable, "-c", _READER, form, str(path), folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ExportError(f"the {form} file does not load in a fresh process: {reason}")
        logits = torch.load(given / "logits.pt")
    scale = expected.abs().max().clamp_min(1e-12)
    difference = float((logits - expected).abs().max() / scale)
    if not difference <= TOLERANCE[form]:
        raise ExportError(
            f"the {form} file computes other logits than the network: they differ by "
            f"{difference:.2g} of the largest"
        )


_READER = """
import importlib.util, sys
from pathlib import Path
import torch
form, path, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
images = torch.load(folder / "images.pt")
if form == "onnx":
    try:
        import onnxruntime
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except ImportError:
        from onnx.reference import ReferenceEvaluator
        session = ReferenceEvaluator(path)
    logits = torch.from_numpy(session.run(None, {"images": images.numpy()})[0].copy())
else:
    if form == "torchscript":
        network = torch.jit.load(path)
    else:
        from importlib.machinery import SourceFileLoader
        loader = SourceFileLoader("exported", path)
        spec = importlib.util.spec_from_loader("exported", loader)
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        network = module.Network()
        network.load_state_dict(torch.load(folder / "state.pt"))
    with torch.inference_mode():
        logits = network.eval()(images)
assert "vkdnw" not in sys.modules, "the file needs the package that wrote it"
torch.save(logits, folder / "logits.pt")
"""

"""The code around the kernels on a GPU, as far as it can be tested without one."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from torch import nn

import vkdnw
from vkdnw.backward.node_kinds import kind_of
from vkdnw.ops import library
from vkdnw.ops.library import NativeLibraryError
from vkdnw.runtime import host_copies, memory
from vkdnw.runtime.host_copies import constants_copied, on_host
from vkdnw.runtime.model_state import preserved
from vkdnw.runtime.precision import float32_on
from vkdnw.runtime.tensor_bits import Numbers, restored

CUDA = torch.device("cuda", 0)
OPS = (
    "jacobian_columns_",
    "fisher_accumulate_",
    "fisher_factor",
    "low_rank_spectrum",
    "backpropagate_",
    "relu_mask",
)


def test_the_library_has_cuda_kernels_exactly_where_it_was_built_with_them() -> None:
    library.load()
    facts = library.read_facts()
    expected = os.environ.get("VKDNW_EXPECTED_CUDA")  # set where such a build is being checked
    if expected is not None:
        assert facts.cuda_mode == expected
        assert facts.cuda_archs
    for op in OPS:
        there = torch._C._dispatch_has_kernel_for_dispatch_key(f"vkdnw::{op}", "CUDA")
        assert there == bool(facts.cuda_archs), op


def test_a_library_without_cuda_kernels_says_what_builds_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = replace(library.read_facts(), cuda_archs=(), cuda_reason="no CUDA kernels: no nvcc")
    monkeypatch.setattr(library, "read_facts", lambda: facts)
    with pytest.raises(NativeLibraryError, match=r"CPU alone .*no nvcc.*VKDNW_CUDA=ON pip install"):
        library.require_cuda_kernels()


def test_a_device_that_is_neither_is_refused() -> None:
    with pytest.raises(ValueError, match="the model is on meta, where tensors hold no numbers"):
        vkdnw.score(nn.Linear(3, 2, device="meta"), torch.ones(2, 3))


# ---- float32 ---------------------------------------------------------------------------------


def settings() -> tuple[object, ...]:
    backends = torch.backends
    return (
        backends.cudnn.conv.fp32_precision,
        backends.cudnn.rnn.fp32_precision,
        backends.cuda.matmul.fp32_precision,
        backends.cudnn.deterministic,
    )


def test_float32_is_ieee_unless_tf32_is_asked_for() -> None:
    before = settings()
    with float32_on(CUDA, tf32=False):
        assert settings() == ("ieee", "ieee", "ieee", True)
    assert settings() == before
    with float32_on(CUDA, tf32=True):
        assert settings() == ("tf32", "tf32", "tf32", True)
    with pytest.raises(KeyError), float32_on(CUDA, tf32=False):
        raise KeyError
    assert settings() == before


def test_a_cpu_call_touches_no_setting() -> None:
    before = settings()
    with float32_on(torch.device("cpu"), tf32=True):
        assert settings() == before


# ---- constants -------------------------------------------------------------------------------


def test_constants_of_a_device_come_in_one_transfer_a_dtype(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(5, affine=False), nn.Linear(2, 2))
    transfers: list[int] = []
    copied = host_copies._copied

    def as_if_on_a_device(wanted: list[torch.Tensor]) -> dict:
        assert wanted == []  # nothing has to be copied from a CPU
        transfers.append(1)
        return copied(host_copies._constants(model))

    monkeypatch.setattr(host_copies, "_copied", as_if_on_a_device)
    with constants_copied(model.modules()):
        norm = model[0]
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
            copy = on_host(tensor)
            assert torch.equal(copy, tensor)
            assert copy.data_ptr() != tensor.data_ptr()
        assert not on_host(norm.weight).requires_grad
        with torch.no_grad():
            norm.weight.fill_(7.0)
        assert on_host(norm.weight).tolist() == [7.0] * 3  # an old copy is not returned
        other = torch.ones(2)
        assert torch.equal(on_host(other), other)
    assert transfers == [1]


# ---- nodes of cuDNN --------------------------------------------------------------------------


class OfCudnn:
    """A BatchNorm's node as it is with CUDA: another name, and another name for one constant."""

    def __init__(self, node: object) -> None:
        self._node = node
        self._saved_epsilon = node._saved_eps  # type: ignore[attr-defined]

    def name(self) -> str:
        return "CudnnBatchNormBackward0"

    def __getattr__(self, name: str) -> object:
        if name == "_saved_eps":
            raise AttributeError(name)
        return getattr(self._node, name)


def test_the_names_of_cudnns_batch_norm_are_torchs() -> None:
    saved = {each for each in dir(torch._C._functions.CudnnBatchNormBackward0) if "_saved" in each}
    assert {"_saved_epsilon", "_saved_running_var", "_saved_training", "_saved_weight"} <= saved


def test_a_batch_norm_of_cudnn_is_read_as_torchs_own() -> None:
    norm = nn.BatchNorm2d(5, eps=0.1).eval()
    x = torch.randn(2, 5, 3, 3, requires_grad=True)
    node = norm(x).grad_fn
    of_cudnn = OfCudnn(node)
    own, other = (kind_of(each) for each in (node, of_cudnn))
    assert torch.equal(own.tape_layer(node).weights(), other.tape_layer(of_cudnn).weights())
    assert own.rule_layer.constants(node) == other.rule_layer.constants(of_cudnn)
    assert other.rule_layer.module(of_cudnn).eps == pytest.approx(0.1)


# ---- checks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_bad_weight_among_many_is_named(bad: float) -> None:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(5)))
    with torch.no_grad():
        model[3].bias[1] = bad
    with pytest.raises(
        ValueError, match=r"parameter 3\.bias holds (nan|inf) \(first at flat index 1"
    ):
        vkdnw.jacobian(model, torch.ones(2, 3))


def test_weights_whose_sum_overflows_are_fine() -> None:
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(1e38)
    assert vkdnw.jacobian(model, torch.zeros(2, 3)).isfinite().all()


# ---- buffers ---------------------------------------------------------------------------------


def test_only_buffers_that_differ_are_put_back() -> None:
    tensors = [torch.ones(2, 3), torch.zeros(0), torch.tensor(5.0), torch.tensor([torch.nan, 1.0])]
    before = [tensor.clone() for tensor in tensors]
    groups = [Numbers(tensors)]
    tensors[0][1, 2] = 7
    versions = [tensor._version for tensor in tensors]
    assert restored(groups)
    assert not restored(groups)
    for tensor, value in zip(tensors, before, strict=True):
        assert torch.equal(tensor.isnan(), value.isnan())
        assert torch.equal(tensor.nan_to_num(), value.nan_to_num())
    written = [tensor._version - seen for tensor, seen in zip(tensors, versions, strict=True)]
    assert written == [1, 0, 0, 0]


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation:UserWarning")
def test_quantised_buffers_keep_their_scales() -> None:
    model = nn.Module()
    for name, scale in (("fine", 0.1), ("coarse", 3.0)):
        quantised = torch.quantize_per_tensor(torch.arange(6.0), scale, 1, torch.qint8)
        model.register_buffer(name, quantised)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with preserved(model):
        for buffer in model.buffers():
            buffer.copy_(torch.zeros(6))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


# ---- memory ----------------------------------------------------------------------------------


def test_what_torch_keeps_for_itself_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert memory.available(CUDA) == int(memory.MARGIN * 1500)

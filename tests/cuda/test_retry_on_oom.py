"""Where memory runs out, chunks are halved, a warning says so, and the numbers stay."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

import vkdnw
from tests.library.cases.networks import residual_network
from vkdnw import SmallerChunksWarning
from vkdnw.per_sample.reverse_mode import chunking
from vkdnw.runtime.retry_on_oom import retry_on_oom

CPU = torch.device("cpu")


def one() -> int:
    return 1


def room_for(limit: int, seen: list[range]):
    def compute(samples: range) -> range:
        seen.append(samples)
        if len(samples) > limit:
            raise torch.OutOfMemoryError("out of memory")
        return samples

    return compute


def test_pieces_come_in_order_and_cover_everything() -> None:
    for limit in (1, 3, 5, 40):
        seen: list[range] = []
        with pytest.warns(SmallerChunksWarning) if limit < 10 else pytest.MonkeyPatch.context():
            pieces = list(retry_on_oom([range(10), range(10, 20)], room_for(limit, seen), one, CPU))
        assert [n for piece in pieces for n in piece] == list(range(20))
        assert all(len(piece) <= limit for piece in pieces)
        failures = [samples for samples in seen if len(samples) > limit]
        assert all(samples.start == 0 for samples in failures)  # the second range learns from it


def test_the_warning_names_the_device_and_both_sizes() -> None:
    with pytest.warns(
        SmallerChunksWarning,
        match="cpu ran out of memory with 8 samples at a time: going on with 4 or fewer",
    ):
        list(retry_on_oom([range(8)], room_for(4, []), one, CPU))


@pytest.mark.parametrize(("fewest", "attempts"), [(1, 4), (2, 3)])
def test_too_little_for_the_fewest_samples_is_an_error(fewest: int, attempts: int) -> None:
    seen: list[range] = []
    with (
        pytest.warns(SmallerChunksWarning),
        pytest.raises(MemoryError, match=f"no fewer than {fewest}"),
    ):
        list(retry_on_oom([range(8)], room_for(0, seen), lambda: fewest, CPU))
    assert len(seen) == attempts


def test_a_call_warns_once_however_often_it_halves() -> None:
    with pytest.warns(SmallerChunksWarning) as warned:
        list(retry_on_oom([range(16), range(16, 32)], room_for(2, []), one, CPU))
    assert len(warned) == 1


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "GET was unable to find an engine to execute this computation",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_libraries_that_find_no_memory_are_out_of_memory(message: str) -> None:
    def compute(samples: range) -> range:
        if len(samples) > 4:
            raise RuntimeError(message)
        return samples

    with pytest.warns(SmallerChunksWarning):
        pieces = list(retry_on_oom([range(8)], compute, one, CPU))
    assert pieces == [range(4), range(4, 8)]


def test_other_errors_pass() -> None:
    def compute(samples: range) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        list(retry_on_oom([range(8)], compute, one, CPU))


def test_the_failed_attempt_is_let_go_before_the_next() -> None:
    alive: list[weakref.ref] = []

    def compute(samples: range) -> int:
        gc.collect(0)
        assert not any(reference() is not None for reference in alive)
        large = torch.zeros(len(samples))
        alive.append(weakref.ref(large))
        if len(samples) > 1:
            raise torch.OutOfMemoryError
        return len(samples)

    with pytest.warns(SmallerChunksWarning):
        assert list(retry_on_oom([range(4)], compute, one, CPU)) == [1] * 4


@pytest.mark.parametrize("call", [vkdnw.jacobian, vkdnw.fisher, vkdnw.score])
def test_a_call_goes_on_with_half(call, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = residual_network().double().eval(), torch.randn(8, 3, 8, 8).double()
    expected = call(model, x)
    whole = chunking.chunk_in_reverse

    def small_device(problem, found, plan, recorder, samples, *rest):
        if len(samples) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(problem, found, plan, recorder, samples, *rest)

    monkeypatch.setattr(chunking, "chunk_in_reverse", small_device)
    torch.set_num_threads(1)
    with pytest.warns(SmallerChunksWarning):
        found = call(model, x)
    if call is vkdnw.score:
        expected, found = expected.eigenvalues, found.eigenvalues
    assert (found - expected).norm() <= 1e-12 * expected.norm()

"""The ops on a GPU against the ops on the CPU, given the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.native.test_low_rank_spectrum import exact_spectrum
from vkdnw.ops.fisher import fisher_accumulate_, fisher_factor
from vkdnw.ops.jacobian_columns import ONES, jacobian_columns_
from vkdnw.ops.spectrum import load, low_rank_spectrum

pytestmark = pytest.mark.gpu

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def assert_same(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Relative to the largest number."""
    error = (found.cpu().double() - expected.double()).abs().max()
    assert error <= tolerance * expected.abs().max().double(), float(error)


# ---- jacobian_columns_ -----------------------------------------------------------------------


def layers(samples: int, cotangents: int, dtype: torch.dtype) -> tuple[list, list, Tensor, Tensor]:
    """Convolution, normalisation and bias of layers of three sizes, in channels-last and not."""
    inputs, grads, picks, affine = [], [], [], []
    for layer, (channels, size) in enumerate(((16, 32), (8, 7), (3, 100), (4, 1))):
        x = random(samples, 1, size, size, channels, dtype=dtype, seed=layer)
        g = random(cotangents, samples, 1, size, size, channels, dtype=dtype, seed=100 + layer)
        inputs.append(x.movedim(-1, 1))
        grads.append(g.movedim(-1, 2) if layer % 2 == 0 else g.movedim(-1, 2).contiguous())
        first = 4 * layer
        picks += [
            [first, layer, 0, 0, 0, -1, -1, 1, 1, 1],
            [first + 1, layer, 1, 1, 0, 0, 0, 1, 1, 1],
            [first + 2, layer, 1, ONES, 0, 0, 0, 1, 1, 1],
            [first + 3, layer, 2, 2, 0, 1, 1, 1, 2, 2],
        ]
        affine += [[0.0, 1.0], [0.1, 1.1], [0.0, 1.0], [-0.2, 0.5]]
    picks.append([0, 0, 2, 0, 0, 0, 0, 1, 1, 1])  # a second term of the first column
    affine.append([0.0, 1.0])
    return inputs, grads, torch.tensor(picks), torch.tensor(affine).double()


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str
)
@pytest.mark.parametrize(("samples", "cotangents"), [(1, 1), (5, 9)])
def test_jacobian_columns(
    samples: int, cotangents: int, dtype: torch.dtype, device: torch.device
) -> None:
    inputs, grads, picks, affine = layers(samples, cotangents, dtype)
    accumulator = torch.float64 if dtype == torch.float64 else torch.float32
    start = random(samples, cotangents, 16, dtype=accumulator)
    expected = jacobian_columns_(
        start.to(torch.float64, copy=True),
        [x.double() for x in inputs],
        [g.double() for g in grads],
        picks,
        affine,
    )

    def compute() -> Tensor:
        there = [[t.to(device) for t in tensors] for tensors in (inputs, grads)]
        return jacobian_columns_(start.to(device, copy=True), *there, picks, affine)

    found = compute()
    assert_same(found, expected, TOLERANCE[accumulator])
    assert torch.equal(found, compute())


def test_a_tensor_of_more_than_2_to_31_elements(only_on_gpu: None, device: torch.device) -> None:
    samples, size = 2, 2**30 + 64
    if torch.cuda.mem_get_info(device)[0] < 6 * samples * size:
        pytest.skip("the device has less than 13 GB free")
    x = torch.ones(samples, 1, 1, 1, size, device=device, dtype=torch.float16)
    x[1, ..., -1] = 3.0
    g = torch.zeros_like(x).unsqueeze(0)
    g[..., -1] = 2.0
    jacobian = torch.zeros(samples, 1, 1, device=device)
    jacobian_columns_(
        jacobian, [x], [g], torch.tensor([[0] * 7 + [1] * 3]), torch.tensor([[0.0, 1.0]]).double()
    )
    assert jacobian.flatten().tolist() == [2.0, 6.0]


# ---- fisher_factor and fisher_accumulate_ ----------------------------------------------------


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("sizes", [(1, 2, 1), (64, 10, 128), (3, 1000, 70), (7, 3, 333)], ids=str)
def test_fisher(
    sizes: tuple[int, int, int], dtype: torch.dtype, released: bool, device: torch.device
) -> None:
    samples, classes, columns = sizes
    jacobian = random(samples, classes - 1, columns, dtype=dtype)
    p = torch.softmax(random(samples, classes, seed=1), dim=1)
    factor = fisher_factor(jacobian.to(device), p.to(device), released=released)
    assert_same(factor, fisher_factor(jacobian, p, released=released), 1e-12)
    start = torch.eye(columns, dtype=dtype)

    def compute(on: torch.device) -> Tensor:
        return fisher_accumulate_(
            start.to(on, copy=True), jacobian.to(on), p.to(on), released=released, scale=0.5
        )

    found = compute(device)
    assert_same(found, compute(torch.device("cpu")), TOLERANCE[dtype])
    assert torch.equal(found, found.T)
    assert torch.equal(found, compute(device))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.25])
def test_what_are_no_probabilities_is_refused_by_sample(bad: float, device: torch.device) -> None:
    p = torch.full((3, 4), 0.25, dtype=torch.float64)
    p[2, 1] = bad
    jacobian = torch.ones(3, 3, 5, dtype=torch.float64, device=device)
    with pytest.raises(ValueError, match=r"probabilities\[2"):
        fisher_factor(jacobian, p.to(device))
    fisher = torch.zeros(5, 5, dtype=torch.float64, device=device)
    with pytest.raises(ValueError, match=r"probabilities\[2"):
        fisher_accumulate_(fisher, jacobian, p.to(device))


# ---- low_rank_spectrum -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (6, 1), (5, 9), (9, 5), (576, 128), (128, 300), (200, 190), (256, 256), (310, 300)],
    ids=str,
)
def test_spectrum(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> None:
    """Eigenvalues above 1e-6 of the largest: 1e-4 in float32, 1e-11 in float64."""
    columns = shape[1]
    factor = (random(*shape) * torch.logspace(0, -3, columns, dtype=torch.float64)).to(dtype)
    found = low_rank_spectrum(factor.to(device)).cpu().double()
    expected = low_rank_spectrum(factor.double())
    large = expected > 1e-6 * expected[-1]
    error = ((found - expected) / expected)[large].abs().max()
    assert error <= (1e-4 if dtype == torch.float32 else 1e-11)
    assert torch.equal(found, low_rank_spectrum(factor.to(device)).cpu().double())


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (12, 12)])
def test_small_eigenvalues_keep_their_digits(
    only_on_gpu: None, shape: tuple[int, int], device: torch.device
) -> None:
    """Where columns span twelve decades, and eigenvalues 24 of a tall factor."""
    factor = random(*shape) * torch.logspace(0, -12, shape[1], dtype=torch.float64)
    found = low_rank_spectrum(factor.to(device)).cpu()
    expected = exact_spectrum(factor)
    assert shape[0] < shape[1] or expected[0] < 1e-20 * expected[-1]
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=0)


def test_the_op_traces_as_it_computes(only_on_gpu: None, device: torch.device) -> None:
    load()
    factor = random(2, 5, 3).to(device)
    torch.library.opcheck(torch.ops.vkdnw.low_rank_spectrum, (factor,))
    compiled = torch.compile(low_rank_spectrum, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(factor), low_rank_spectrum(factor))


def test_a_batch_is_each_matrix_alone(device: torch.device) -> None:
    batch = random(3, 2, 30, 20).to(device)
    alone = torch.stack([low_rank_spectrum(m) for m in batch.flatten(0, 1)])
    assert torch.equal(low_rank_spectrum(batch).flatten(0, 1), alone)
    assert low_rank_spectrum(batch[:0]).shape == (0, 2, 20)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("size", [8, 300])
def test_a_factor_that_is_not_finite_is_refused(
    value: float, size: int, device: torch.device
) -> None:
    batch = random(3, size, size).to(device)
    batch[1, 2, 3] = value
    with pytest.raises(ValueError, match="NaN or an infinity in matrix 1 of the batch"):
        low_rank_spectrum(batch)


# ---- the caller's stream and device ----------------------------------------------------------


def test_ops_run_on_the_current_stream(only_on_gpu: None, device: torch.device) -> None:
    stream = torch.cuda.Stream(device)
    factor = random(576, 128)
    expected = low_rank_spectrum(factor.to(device))
    with torch.cuda.stream(stream):
        late = factor.pin_memory().to(device, non_blocking=True)
        torch.cuda._sleep(20_000_000)
        late += torch.zeros_like(late)
        found = low_rank_spectrum(late)
    stream.synchronize()
    assert torch.equal(found, expected)


def test_ops_run_on_their_tensors_device(only_on_gpu: None) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device")
    found = low_rank_spectrum(random(20, 9).to("cuda:1"))
    assert found.device == torch.device("cuda", 1)
    assert torch.cuda.current_device() == 0
    torch.testing.assert_close(found.cpu(), low_rank_spectrum(random(20, 9)))


@pytest.mark.gpu
@pytest.mark.usefixtures("only_on_gpu")
def test_a_call_during_graph_capture_is_refused() -> None:
    factor = torch.randn(32, 16, device="cuda")
    low_rank_spectrum(factor)  # so that nothing is loaded for the first time inside the capture
    graph = torch.cuda.CUDAGraph()
    with (
        pytest.raises(RuntimeError, match="cannot be captured in a CUDA graph"),
        torch.cuda.graph(graph),
    ):
        low_rank_spectrum(factor)

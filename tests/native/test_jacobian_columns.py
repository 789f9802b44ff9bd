"""vkdnw.ops.jacobian_columns_ against the reference, for any strides, sizes, steps and dtypes."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tests.native import reference
from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.jacobian_columns import ONES, PICK_FIELDS, jacobian_columns_, load

STORAGE = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Case:
    """Arguments of one call, and the bound on the error that summation order can cause."""

    jacobian: Tensor
    inputs: list[Tensor]
    grads: list[Tensor]
    picks: Tensor
    affine: Tensor

    def run(self) -> Tensor:
        return jacobian_columns_(
            self.jacobian.clone(), self.inputs, self.grads, self.picks, self.affine
        )

    def expected(self) -> Tensor:
        shape = tuple(self.jacobian.shape)
        return self.jacobian.double() + reference.jacobian_columns(
            shape, self.inputs, self.grads, self.picks, self.affine
        )

    def error_bound(self) -> Tensor:
        """Of each element: (n + 4) u * sum of |terms|, n terms summed in any order (Higham, 4.4).

        The 4 are the subtraction of the shift, its rounding, the product and the scale.
        """
        magnitudes = [x.abs() for x in self.inputs], [g.abs() for g in self.grads]
        affine = torch.stack([-self.affine[:, 0].abs(), self.affine[:, 1].abs()], dim=1)
        shape = tuple(self.jacobian.shape)
        total = reference.jacobian_columns(shape, *magnitudes, self.picks, affine)
        terms = max(g[0, 0, 0].numel() for g in self.grads) * len(self.picks)
        unit = torch.finfo(self.jacobian.dtype).eps / 2
        return (terms + 4) * unit * (total + self.jacobian.double().abs())


def strided(
    shape: tuple[int, ...], dtype: torch.dtype, layout: str, rng: torch.Generator
) -> Tensor:
    """Normal numbers of one shape in several memory layouts; channels are dimension -4."""
    dims = len(shape)
    if layout == "contiguous":
        return torch.randn(shape, generator=rng).to(dtype)
    if layout == "channels_last":
        order = [*range(dims - 4), dims - 3, dims - 2, dims - 1, dims - 4]
        inverse = [order.index(d) for d in range(dims)]
        return torch.randn([shape[d] for d in order], generator=rng).to(dtype).permute(inverse)
    if layout == "sliced":
        return torch.randn([2 * s + 1 for s in shape], generator=rng).to(dtype)[
            tuple(slice(1, None, 2) for _ in shape)
        ]
    if layout == "expanded":  # as the gradient of a sum over positions is laid out
        return torch.randn([*shape[:-2], 1, 1], generator=rng).to(dtype).expand(shape)
    raise ValueError(layout)


def random_case(seed: int, dtype: torch.dtype, layouts: tuple[str, ...]) -> Case:
    rng, torch_rng = random.Random(seed), torch.Generator().manual_seed(seed)
    samples, cotangents, columns, layers = (rng.randint(1, 4) for _ in range(4))
    inputs, grads, picks, affine = [], [], [], []
    for layer in range(layers):
        cx, cg = rng.randint(1, 5), rng.randint(1, 5)
        x_size, g_size = ([rng.randint(1, 7) for _ in range(3)] for _ in range(2))
        layout = rng.choice(layouts)
        inputs.append(strided((samples, cx, *x_size), dtype, layout, torch_rng))
        grads.append(strided((cotangents, samples, cg, *g_size), dtype, layout, torch_rng))
        for _ in range(rng.randint(0, 5)):
            start = [rng.randint(-3, 3) for _ in range(3)]
            step = [rng.randint(1, 3) for _ in range(3)]
            channels = (rng.randrange(cg), rng.randint(-1, cx - 1))
            picks.append([rng.randrange(columns), layer, *channels, *start, *step])
            affine.append([rng.gauss(0, 1), rng.gauss(0, 1)])
    accumulator = torch.float64 if dtype == torch.float64 else torch.float32
    return Case(
        torch.randn(samples, cotangents, columns, generator=torch_rng).to(accumulator),
        inputs,
        grads,
        torch.tensor(picks, dtype=torch.int64).reshape(-1, PICK_FIELDS),
        torch.tensor(affine, dtype=torch.float64).reshape(-1, 2),
    )


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced", "expanded"])
@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_the_reference(seed: int, layout: str, dtype: torch.dtype) -> None:
    case = random_case(seed, dtype, (layout,))
    error = (case.run().double() - case.expected()).abs()
    assert (error <= case.error_bound()).all(), (error / case.error_bound()).max()


def nb201_like_case(dtype: torch.dtype, cotangents: int = 3) -> Case:
    """3x3 convolutions with padding 1, their folded normalisation and bias, in channels-last."""
    rng = torch.Generator().manual_seed(0)
    inputs, grads, picks, affine = [], [], [], []
    for layer, (channels, size, stride) in enumerate([(16, 32, 1), (16, 32, 2), (64, 8, 1)]):
        out = size // stride
        inputs.append(strided((2, channels, 1, size, size), dtype, "channels_last", rng))
        grads.append(strided((cotangents, 2, channels, 1, out, out), dtype, "channels_last", rng))
        for column, (ic, start, step) in enumerate([(0, -1, stride), (3, 0, stride), (-1, 0, 1)]):
            picks.append([3 * layer + column, layer, 0, ic, 0, start, start, 1, step, step])
            affine.append([0.0, 1.0] if column != 1 else [0.3, 1.7])
    accumulator = torch.float64 if dtype == torch.float64 else torch.float32
    jacobian = torch.zeros(2, cotangents, 9, dtype=accumulator)
    return Case(jacobian, inputs, grads, torch.tensor(picks), torch.tensor(affine).double())


def test_agrees_with_autograd() -> None:
    """The columns are derivatives: of a strided, padded convolution, and of its bias."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 9, 8, generator=rng, dtype=torch.float64)
    weight = torch.randn(5, 4, 3, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    picks = torch.tensor(
        [[0, 0, 2, 3, 0, 1 * 2 - 2, 1 * 1 - 1, 1, 3, 2], [1, 0, 4, ONES, 0, 0, 0, 1, 1, 1]]
    )
    y = torch.nn.functional.conv2d(x, weight, bias, stride=(3, 2), padding=(2, 1), dilation=(2, 1))
    cotangent = torch.randn(y.shape, generator=rng, dtype=torch.float64)
    expected = torch.zeros(3, 1, 2, dtype=torch.float64)
    for n in range(3):
        dw, db = torch.autograd.grad(y[n], (weight, bias), cotangent[n], retain_graph=True)
        expected[n, 0] = torch.stack([dw[2, 3, 1, 1], db[4]])
    actual = jacobian_columns_(
        torch.zeros_like(expected),
        [x.unsqueeze(2)],
        [cotangent.unsqueeze(2).unsqueeze(0)],
        picks,
        torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64),
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", STORAGE)
def test_any_thread_count_gives_the_same_bits(dtype: torch.dtype) -> None:
    case = nb201_like_case(dtype)
    one, two = on_one_and_two_threads(case.run)
    assert torch.equal(one, two)


@pytest.mark.parametrize("dtype", STORAGE)
def test_cotangents_one_by_one_give_the_same_bits(dtype: torch.dtype) -> None:
    case = nb201_like_case(dtype)
    together = case.run()
    for k in range(together.shape[1]):
        alone = Case(
            case.jacobian[:, k : k + 1], case.inputs, [g[k : k + 1] for g in case.grads],
            case.picks, case.affine,
        ).run()  # fmt: skip
        assert torch.equal(together[:, k : k + 1], alone)


def test_planes_beyond_the_gradient_scratch() -> None:
    """So large that the cotangents are taken one by one."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 1, 300, 301, generator=rng)
    g = torch.randn(2, 1, 1, 1, 300, 301, generator=rng)
    picks = torch.tensor([[0, 0, 0, 0, 0, 0, -2, 1, 1, 1]])
    actual = jacobian_columns_(
        torch.zeros(1, 2, 1), [x], [g], picks, torch.tensor([[0.0, 1.0]]).double()
    )
    products = g[:, 0, 0, 0, :, 2:].double() * x[0, 0, 0, :, :-2].double()  # [K, 300, 299]
    bound = 300 * 299 * torch.finfo(torch.float32).eps / 2 * products.abs().sum((1, 2))
    assert ((actual[0, :, 0] - products.sum((1, 2))).abs() <= bound).all()


def test_adds_tied_columns_into_a_strided_jacobian() -> None:
    x = torch.ones(2, 1, 1, 1, 2)
    g = torch.ones(1, 2, 1, 1, 1, 2)
    storage = torch.full((1, 2, 3), 10.0)
    jacobian = storage.transpose(0, 1)
    picks = torch.tensor([[1, 0, 0, 0, 0, 0, 0, 1, 1, 1]] * 2 + [[1, 0, 0, -1, 0, 0, 0, 1, 1, 1]])
    affine = torch.tensor([[0.0, 1.0], [0.5, 4.0], [0.0, -1.0]], dtype=torch.float64)
    jacobian_columns_(jacobian, [x], [g], picks, affine)
    assert torch.equal(jacobian, torch.tensor([10.0, 14.0, 10.0]).expand(2, 1, 3))


@pytest.mark.parametrize(("samples", "cotangents", "count"), [(0, 2, 1), (2, 0, 1), (2, 2, 0)])
def test_nothing_to_add(samples: int, cotangents: int, count: int) -> None:
    jacobian = torch.ones(samples, cotangents, 1)
    picks = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 1, 1, 1]])[:count]
    affine = torch.ones(count, 2, dtype=torch.float64)
    x, g = torch.ones(samples, 1, 1, 1, 1), torch.ones(cotangents, samples, 1, 1, 1, 1)
    assert torch.equal(
        jacobian_columns_(jacobian, [x], [g], picks, affine),
        torch.ones(samples, cotangents, 1),
    )


def test_not_a_number_outside_the_window_is_not_read() -> None:
    x = torch.tensor([1.0, float("nan")]).reshape(1, 1, 1, 1, 2)
    g = torch.ones(1, 1, 1, 1, 1, 2)
    picks = torch.tensor([[0, 0, 0, 0, 0, 0, -1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 1, 1, 1]])
    affine = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    jacobian = jacobian_columns_(torch.zeros(1, 1, 2), [x], [g], picks, affine)
    assert jacobian[0, 0, 0] == 1.0
    assert jacobian[0, 0, 1].isnan()


def test_half_conversions_are_exact() -> None:
    """Every finite float16, subnormals included, times one; and infinity."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    values = bits.view(torch.float16)
    values = values[~values.isnan()]
    jacobian = jacobian_columns_(
        torch.zeros(len(values), 1, 1),
        [values.reshape(-1, 1, 1, 1, 1)],
        [torch.ones(1, len(values), 1, 1, 1, 1, dtype=torch.float16)],
        torch.tensor([[0, 0, 0, 0, 0, 0, 0, 1, 1, 1]]),
        torch.tensor([[0.0, 1.0]], dtype=torch.float64),
    )
    assert torch.equal(jacobian.flatten(), values.float())


PICK = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"picks": torch.tensor([PICK], dtype=torch.int32)}, "picks must be a contiguous int64"),
        ({"picks": torch.tensor([[3, *PICK[1:]]])}, r"picks\[0\] names column 3 of .* 3 columns"),
        ({"picks": torch.tensor([[0, 1, *PICK[2:]]])}, r"picks\[0\] names layer 1 of 1"),
        ({"picks": torch.tensor([[0, 0, 2, *PICK[3:]]])}, r"channel 2 of grads\[0\]"),
        ({"picks": torch.tensor([[0, 0, 0, -2, *PICK[4:]]])}, r"channel -2 of inputs\[0\]"),
        ({"picks": torch.tensor([[*PICK[:9], 0]])}, "step 0; steps are at least 1"),
        ({"affine": torch.zeros(2, 2).double()}, r"affine must be .* shape \[1, 2\]"),
        ({"affine": torch.zeros(1, 2)}, "affine must be a contiguous float64"),
        ({"jacobian": torch.zeros(2, 1, 3).double()}, "jacobian is Double; .* must be Float"),
        ({"jacobian": torch.zeros(2, 3)}, "jacobian has 2 dimensions"),
        ({"jacobian": torch.zeros(2, 3, 1).mT[:, :, ::2]}, "stride 2 along its columns"),
        ({"jacobian": torch.zeros(3, 1, 3)}, r"inputs\[0\] has 2 samples .* has 3"),
        ({"jacobian": torch.zeros(2, 4, 3)}, r"grads\[0\] has 1 cotangents .* has 4"),
        ({"inputs": [torch.zeros(2, 1, 4)]}, r"inputs\[0\] has 3 dimensions, not 5; unsqueeze"),
        ({"inputs": []}, "grads has 1 layers but inputs has 0"),
        ({"grads": [torch.zeros(1, 2, 2, 1, 1, 4).half()]}, r"grads\[0\] is Half"),
        ({"inputs": [torch.zeros(2, 1, 1, 1, 4).int()]}, "dtype must be float64, float32"),
    ],
)
def test_refuses_by_name(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "jacobian": torch.zeros(2, 1, 3),
        "inputs": [torch.zeros(2, 1, 1, 1, 4)],
        "grads": [torch.zeros(1, 2, 2, 1, 1, 4)],
        "picks": torch.tensor([PICK]),
        "affine": torch.zeros(1, 2, dtype=torch.float64),
    }
    with pytest.raises(ValueError, match=message):
        jacobian_columns_(**(arguments | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", STORAGE)
def test_opcheck(dtype: torch.dtype) -> None:
    load()
    case = nb201_like_case(dtype)
    torch.library.opcheck(
        torch.ops.vkdnw.jacobian_columns_,
        (case.jacobian, case.inputs, case.grads, case.picks, case.affine),
    )


def test_compiles_into_one_graph() -> None:
    load()
    case = nb201_like_case(torch.float32)
    compiled = torch.compile(jacobian_columns_, fullgraph=True, backend="aot_eager")
    actual = compiled(case.jacobian.clone(), case.inputs, case.grads, case.picks, case.affine)
    assert torch.equal(actual, case.run())

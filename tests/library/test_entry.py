"""Arguments that cannot be used are refused in the package's words, with a remedy."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export
from torch.utils.data import DataLoader, TensorDataset

import vkdnw
from tests.library.test_refusals import Refusal

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*quantized"),
    pytest.mark.filterwarnings("ignore:Sparse CSR"),
    pytest.mark.filterwarnings("ignore:.*nested tensors"),
]


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)).eval()


def batch() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()


class Changed(nn.Module):
    """A perceptron whose hidden layer is changed by a function."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.fc, self.change = nn.Linear(6, 6), nn.Linear(6, 3), change

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.change(torch.tanh(self.first(x))))


class Bags(nn.Module):
    """Bags of tokens, one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.fc = nn.EmbeddingBag(20, 6), nn.Linear(6, 3)

    def forward(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        return self.fc(self.bag(tokens, offsets))


def only_five(x: Tensor) -> Tensor:
    assert len(x) == 5
    return x


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return mlp()


def with_inference_buffer() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)).eval()
    with torch.inference_mode():
        model[1].running_mean = torch.zeros(6)
    return model


def partly_on_meta() -> nn.Module:
    model = mlp()
    model[0].to("meta")
    return model


def with_sparse_weight() -> nn.Module:
    model = mlp()
    model[0].weight = nn.Parameter(model[0].weight.detach().to_sparse())
    return model


def with_lock() -> nn.Module:
    model = mlp()
    model.lock = threading.Lock()
    return model


def normed() -> nn.Module:
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 6)), nn.Tanh(), nn.Linear(6, 3)).eval()
    model(batch())
    return model


def frozen_script() -> nn.Module:
    return torch.jit.freeze(torch.jit.script(mlp()))


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(mlp(), {nn.Linear})


TWO = "failed on the first 2 samples of the batch"
MODELS = {
    "a class": Refusal(lambda: nn.Linear, batch(), ("is a class (Linear)", "instance"), TypeError),
    "a function": Refusal(
        lambda: partial(mlp()), batch(), ("is a partial", "pass the module"), TypeError
    ),
    "a state dict": Refusal(lambda: mlp().state_dict(), batch(), ("load a state dict",), TypeError),
    "an exported module": Refusal(
        lambda: export(mlp(), (batch(),)).module(), batch(), (TWO, "dynamic batch dimension")
    ),
    "a list of modules": Refusal(
        lambda: nn.ModuleList([nn.Linear(6, 6)]), batch(), (TWO, "that computes the logits")
    ),
    "a frozen script": Refusal(frozen_script, batch(), ("without parameters", "torch.jit.freeze")),
    "no parameters": Refusal(nn.Tanh, batch(), ("no parameters", "nn.Parameter")),
    "quantised weights": Refusal(quantised, batch(), ("0 (Linear)", "quantised", "before it is")),
    "weights of inference mode": Refusal(
        in_inference_mode, batch(), ("parameter 0.weight", "inference_mode()", "copy.deepcopy")
    ),
    "a buffer of inference mode": Refusal(
        with_inference_buffer, batch(), ("buffer 1.running_mean", "inference_mode()")
    ),
    "no numbers": Refusal(lambda: mlp().to("meta"), batch(), ("on meta", "to_empty")),
    "two devices": Refusal(partly_on_meta, batch(), ("on meta and cpu", "one device")),
    "a sparse weight": Refusal(with_sparse_weight, batch(), ("0.weight is sparse", "to_dense()")),
    "a batch size in a view": Refusal(
        lambda: Changed(lambda x: x.view(5, 6)).eval(), batch(), (TWO, "[2, 6]", "batch size")
    ),
    "a batch size in an assertion": Refusal(
        lambda: Changed(only_five).eval(), batch(), (TWO, "AssertionError", "batch size")
    ),
    "weight norm, converted": Refusal(
        normed, batch(), ("dtype=torch.float64", "copy", "leave dtype= out"),
        options={"dtype": torch.float64},
    ),
    "a lock, converted": Refusal(
        with_lock, batch(), ("cannot be copied", "model.to(dtype)"),
        options={"dtype": torch.float64},
    ),
}  # fmt: skip

BATCHES = {
    "an array": Refusal(mlp, batch().numpy(), ("is a ndarray", "torch.as_tensor"), TypeError),
    "an array among arguments": Refusal(
        mlp, {"input": batch().numpy()}, ("batch['input'] is a ndarray", "as_tensor"), TypeError
    ),
    "a data loader": Refusal(
        mlp, DataLoader(TensorDataset(batch())), ("DataLoader", "next(iter(loader))"), TypeError
    ),
    "a generator": Refusal(mlp, (x for x in batch()), ("is a generator", "one batch"), TypeError),
    "a text": Refusal(mlp, "cat", ("is a str", "token numbers"), TypeError),
    "a list of samples": Refusal(mlp, list(batch()), ("5 arguments", "torch.stack(samples)")),
    "a list of numbers": Refusal(mlp, [[1.0] * 6], ("no tensor", "torch.tensor(batch)")),
    "labels": Refusal(mlp, (batch(), torch.zeros(5).long()), ("2 arguments", "labels are none")),
    "a wrong name": Refusal(mlp, {"pixels": batch()}, ("'pixels'", "a dict by name")),
    "bytes": Refusal(
        convolutional,
        torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        ("batch is torch.uint8", "batch.float() / 255"),
    ),
    "whole numbers": Refusal(
        convolutional, torch.zeros(4, 3, 8, 8).long(), ("torch.int64", "batch.float()")
    ),
    "no axis of samples": Refusal(
        convolutional, torch.zeros(3, 8, 8), ("([2, 8, 8])", "first axis is that of the samples")
    ),
    "offsets of bags": Refusal(
        lambda: Bags().eval(),
        (torch.zeros(11).long(), torch.tensor([0, 3, 5])),
        ("disagree", "offsets", "pad the bags"),
    ),
    "packed sequences": Refusal(
        mlp,
        nn.utils.rnn.pack_sequence([batch(), batch()[:3]]),
        ("PackedSequence", "pad_packed_sequence"),
        TypeError,
    ),
    "a nested tensor": Refusal(
        mlp, torch.nested.nested_tensor([batch(), batch()[:3]]), ("nested", "pad it"), TypeError
    ),
    "a sparse tensor": Refusal(mlp, batch().to_sparse(), ("sparse_coo", "to_dense()"), TypeError),
}


def with_weights(weights: Any, *says: str) -> Refusal:
    return Refusal(mlp, batch(), says, TypeError, {"weights": weights})


OPTIONS = {
    "a choice that was not made": with_weights(vkdnw.weights.first, ".every()"),
    "a lone index": with_weights({"0.bias": 3}, "'0.bias'", "list of flat indices"),
    "half an index": with_weights({"0.bias": [0.5]}, "integers"),
    "a table of indices": with_weights({"0.bias": [[1]]}, "list of flat indices"),
    "smoothing as text": Refusal(
        mlp, batch(), ("smoothing='0.1'", "[0, 1]"), TypeError, {"smoothing": "0.1"}
    ),
    "output that fails": Refusal(
        mlp, batch(), ("output= failed", "logits"), options={"output": lambda o: o.logits}
    ),
    "output that gives nothing": Refusal(
        mlp, batch(), ("output= gave NoneType",), options={"output": lambda o: None}
    ),
}


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(refusal, id=name)
        for cases in (MODELS, BATCHES, OPTIONS)
        for name, refusal in cases.items()
    ],
)
def test_refused_in_our_own_words(refusal: Refusal) -> None:
    with pytest.raises(refusal.error) as raised:
        vkdnw.score(refusal.model(), refusal.batch, **refusal.options)
    missing = [part for part in refusal.says if part not in str(raised.value)]
    assert not missing, raised.value
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "choose",
    [
        lambda: vkdnw.weights.first("3"),
        lambda: vkdnw.weights.spaced(2.5),
        lambda: vkdnw.weights.random(3, None),
    ],
)
def test_a_count_or_a_seed_is_an_integer(choose: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="expected an integer"):
        choose()


class Unreadable(Exception):
    """Of the caller's own."""


def test_errors_of_other_kinds_are_the_callers_own() -> None:
    def fail(x: Tensor) -> Tensor:
        raise Unreadable

    with pytest.raises(Unreadable):
        vkdnw.score(Changed(fail).eval(), batch())


# ---- not refused ----------------------------------------------------------------------------


def test_an_export_with_a_dynamic_batch_is_scored() -> None:
    exported = export(mlp(), (batch(),), dynamic_shapes=({0: Dim.AUTO},)).module()
    found, expected = vkdnw.jacobian(exported, batch()), vkdnw.jacobian(mlp(), batch())
    torch.testing.assert_close(found, expected)


def test_a_copy_of_a_model_of_inference_mode_is_scored() -> None:
    assert vkdnw.score(copy.deepcopy(in_inference_mode()), batch()).vkdnw > 0


def test_batches_of_inference_mode_or_with_gradients_are_fine() -> None:
    model = mlp()
    expected = vkdnw.score(model, batch())
    with torch.inference_mode():
        made = batch()
        assert vkdnw.score(model, made) == expected
    assert vkdnw.score(model, made) == expected
    assert vkdnw.score(model, nn.Parameter(batch())) == expected


def test_indices_may_be_a_tensor_or_an_array() -> None:
    expected = vkdnw.score(mlp(), batch(), weights={"0.weight": [1, 2]})
    for indices in (torch.tensor([2, 1]), np.array([1, 2], dtype=np.int32), (1, 2), range(1, 3)):
        assert vkdnw.score(mlp(), batch(), weights={"0.weight": indices}) == expected


def test_a_model_that_takes_bytes_is_scored_on_bytes() -> None:
    class Scaling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = convolutional()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.float() / 255)

    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    assert vkdnw.score(Scaling().eval(), images).vkdnw > 0

"""The proxies of the paper's search, as the published code computes them on its networks."""

import pytest
import torch

from tests.search.spaces.mobilenetv2 import golden
from vkdnw import proxies
from vkdnw.proxies.inputs import Inputs
from vkdnw.search.spaces import mobilenetv2


def test_expressivity_progressivity_and_trainability_are_the_published_ones():
    # The initial structure, the shallowest: deeper ones amplify the last bit of their input in
    # train mode (see test_network), and with it whatever is computed from their features.
    case = golden.structures()[0]
    published = case["deterministic_float64"]
    shapes = case["feature_shapes_64_batch2"]
    network = golden.fill(mobilenetv2.build(case["struct"], classes=10))
    found = proxies.compute(
        ["expressivity", "progressivity", "trainability"],
        network,
        Inputs(noise=golden.images(), signs=tuple(signs(shape) for shape in shapes[:0:-1])),
        seed=0,
        features=mobilenetv2.features(network),
    )
    # The published logarithm is of p + 1e-8: it lowers the entropy of C shares by C x 1e-8 at most.
    shares = 1e-8 * sum(shape[1] for shape in shapes)
    assert found["expressivity"].value == pytest.approx(published["expressivity"], abs=shares)
    assert found["progressivity"].value == pytest.approx(published["progressivity"], abs=shares)
    expected = published["trainability_signpattern_mod3"]
    assert found["trainability"].value == pytest.approx(expected, rel=1e-9)


def signs(shape):
    """+1 at every third place, -1 elsewhere."""
    places = torch.arange(torch.Size(shape).numel())
    return torch.where(places % 3 == 0, 1.0, -1.0).double().view(shape)

"""The networks: order of parameters, logits, features."""

import pytest
import torch
from torch import nn

import vkdnw
from tests.search.spaces.mobilenetv2 import golden
from vkdnw import weights
from vkdnw.search.spaces import mobilenetv2
from vkdnw.search.spaces.mobilenetv2 import INITIAL, MobileNetV2
from vkdnw.weights import select

golden_structures = pytest.mark.parametrize("case", golden.structures(), ids=range(8))


@golden_structures
def test_logits_in_eval_mode_are_the_published_ones(case):
    network = golden.fill(mobilenetv2.build(case["struct"], classes=10)).eval()
    with torch.no_grad():
        logits = network(golden.images())
    published = torch.tensor(case["deterministic_float64"]["eval_logits"], dtype=torch.float64)
    torch.testing.assert_close(logits, published, rtol=1e-9, atol=1e-9)


@golden_structures
def test_train_mode_gives_the_published_features_and_logits(case):
    # In train mode a deep network amplifies the last bit of its input by up to 10^13, so numbers
    # are compared to within many times the change by two more roundings of the input.
    outputs, logits = feature_outputs(case["struct"], golden.images())
    assert [list(output.shape) for output in outputs] == case["feature_shapes_64_batch2"]
    entropies = torch.stack([expressivity(output) for output in outputs])
    nearby, nearby_logits = feature_outputs(case["struct"], rounded(golden.images()))
    moved = torch.stack([expressivity(output) for output in nearby]) - entropies
    published = case["deterministic_float64"]
    close(entropies, published["expressivity_per_feature"], moved.abs().cummax(0)[0])
    close(logits, published["train_logits"], (nearby_logits - logits).abs().max())


def close(ours, published, sensitivity):
    error = (ours - torch.tensor(published, dtype=torch.float64)).abs()
    assert (error <= 1e-9 + 100 * sensitivity).all(), error


def rounded(images):
    """The images with each pixel moved to one of its neighbours in float64."""
    signs = torch.randint(2, images.shape, generator=torch.Generator().manual_seed(0))
    return torch.nextafter(images, images + 2 * signs - 1)


def feature_outputs(structure, images):
    """The outputs of the modules that `features` names, and the logits, in train mode."""
    network = golden.fill(mobilenetv2.build(structure, classes=10)).train()
    outputs = []
    for name in mobilenetv2.features(network):
        network.get_submodule(name).register_forward_hook(lambda *call: outputs.append(call[2]))
    with torch.no_grad():
        return outputs, network(images)


def expressivity(feature):
    """The entropy of the covariance's normalised spectrum, as AZ-NAS defines it; the slow way."""
    x = feature.permute(1, 0, 2, 3).flatten(1)  # [C, B H W]
    x = x - x.mean(1, keepdim=True)
    eigenvalues = torch.linalg.svdvals(x).square()  # all that are not 0
    p = eigenvalues / eigenvalues.sum()
    return -(p * torch.log(p + 1e-8)).sum()


@golden_structures
def test_variants_have_the_published_tensors_and_features(case):
    with torch.device("meta"):
        plain = mobilenetv2.build(case["struct"], residual=False)
        excited = mobilenetv2.build(case["struct"], squeeze_excitation=True)
    assert len(list(plain.parameters())) == case["no_reslink"]["param_tensor_count"]
    assert len(mobilenetv2.features(plain)) == case["no_reslink"]["num_features"]
    assert len(list(excited.parameters())) == case["use_se_classes1000"]["param_tensor_count"]


@golden_structures
def test_the_tensors_that_are_differentiated_are_those_drawn_by_the_paper(case):
    with torch.device("meta"):
        network = mobilenetv2.build(case["struct"], classes=10)
    names = [name for name, _ in network.named_parameters()]
    chosen = select(network, weights.sampled(128)).names
    drawn = case["deterministic_float64"]["selected_param_positions"]
    assert sorted(names.index(name) for name in chosen) == sorted(drawn)


@pytest.mark.parametrize("case", golden.structures()[:2], ids=lambda case: case["origin"]["budget"])
def test_eigenvalues_are_the_published_ones(case):
    ours = eigenvalues(case["struct"], golden.images())
    moved = (eigenvalues(case["struct"], rounded(golden.images())) - ours).abs()
    close(ours, case["deterministic_float64"]["vkdnw"]["top5_eigs_LJ"], moved.max())


def eigenvalues(structure, images):
    """The five largest of the released code's Fisher matrix, after one pass in train mode."""
    network = golden.fill(mobilenetv2.build(structure, classes=10)).train()
    with torch.no_grad():
        network(images)  # moves the running statistics, as the published code does
    score = vkdnw.score(
        network.eval(),
        golden.images(),
        weights=weights.sampled(128),
        convention="released",
        dtype=torch.float64,
    )
    return score.eigenvalues.sort(descending=True).values[:5]


SUBLAYERS = "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE2K5(8,16,2,24,2)SuperConvK1BNRELU(16,32,1,1)"


def test_parameters_come_in_the_published_order():
    names = [name for name, _ in mobilenetv2.build(SUBLAYERS, 10).named_parameters()]
    half = [
        f"{stage}.{tensor}"
        for stage in ("expand", "depthwise", "project")
        for tensor in ("conv.weight", "bn.weight", "bn.bias")
    ]
    shortcut = ["shortcut.conv.weight", "shortcut.conv.bias", "shortcut.bn.weight"]
    half += [*shortcut, "shortcut.bn.bias"]
    conv = ["conv.weight", "bn.weight", "bn.bias"]
    assert names == [
        *(f"blocks.0.0.{tensor}" for tensor in conv),
        *(f"blocks.1.{i}.{ab}.{tensor}" for i in (0, 1) for ab in "ab" for tensor in half),
        *(f"blocks.2.0.{tensor}" for tensor in conv),
        "head.fc.weight",
        "head.fc.bias",
    ]


def test_a_shortcut_is_the_identity_where_nothing_changes_but_at_the_very_first():
    structure = SUBLAYERS.replace("(8,16,2,24,2)", "(8,8,1,8,2)").replace("(16,32", "(8,32")
    block = mobilenetv2.build(structure, 10).blocks[1]
    assert isinstance(block[0].a.shortcut, nn.Sequential)
    for shortcut in (block[0].b.shortcut, block[1].a.shortcut, block[1].b.shortcut):
        assert isinstance(shortcut, nn.Identity)


def test_every_layer_is_called_exactly_once_and_squeezes_do_not_reach_out():
    network = mobilenetv2.build(SUBLAYERS, 10, squeeze_excitation=True).eval()
    calls: dict[str, int] = {}
    for name, module in network.named_modules():
        if not list(module.children()):
            calls[name] = 0
            module.register_forward_hook(
                lambda *_, name=name: calls.__setitem__(name, calls[name] + 1)
            )
    network(torch.randn(2, 3, 16, 16))
    assert set(calls.values()) == {1}
    gates = network.blocks[1][0].a.excite.gate
    y = gates(torch.randn(2, 48, 4, 4))
    assert y.shape == (2, 48, 1, 1)
    assert y.min() > 0
    assert y.max() < 1


def test_the_space_builds_at_the_size_that_it_scores():
    space = MobileNetV2(classes=7, resolution=32)
    network = space.build(INITIAL)
    assert network.training
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert space.features(network)[0] == "blocks.0.0.relu"
    with pytest.raises(TypeError, match=r"network of mobilenetv2\.build, got Linear"):
        space.features(nn.Linear(1, 1))


def test_a_bad_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="classes must be a positive integer, got 0"):
        mobilenetv2.build(INITIAL, 0)

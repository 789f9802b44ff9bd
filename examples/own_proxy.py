"""Proxies of one's own, in one file: a pass of its own, and one that shares the common pass.

Compare them with others on a model, from Python or by where they are:

    python examples/own_proxy.py
    cd examples && vkdnw score timm:resnet18 --proxies own_proxy:confidence

A package of one's own makes them known by name with an entry point in its pyproject.toml:

    [project.entry-points."vkdnw.proxies"]
    my_package = "my_package.own_proxy"

``vkdnw.testing.ProxyTests`` has the tests that a proxy must pass:

    class TestConfidence(ProxyTests):
        name = "own_proxy:confidence"
"""

from __future__ import annotations

import torch
from torch import nn

from vkdnw import proxies


@proxies.register(
    title="Confidence at initialisation",
    reference="an example: how far logits are from equal, with its sign turned",
    mode="eval",
    undefined="never",
)
def confidence(call: proxies.Call) -> float:
    """Minus the mean over images of the standard deviation of their logits."""
    images = call.inputs.read("noise")
    with torch.no_grad():
        logits = call.model(images)
    return -float(logits.double().std(dim=1).mean())


@proxies.register(
    title="Widest feature",
    reference="an example: the largest of the entropies that AZ-NAS's expressivity sums up",
    requires=("spectra",),
    undefined="NaN where every feature is constant",
)
def widest_feature(shared: proxies.TrainPass, call: proxies.Call) -> proxies.Value:
    """The largest entropy of a feature's spectrum, in nats; it needs no pass beside expressivity's.

    Source: Lee and Ham, AZ-NAS, CVPR 2024, equation 3.
    """
    defined = [entropy for entropy in shared.entropies if entropy == entropy]
    if not defined:
        return proxies.undefined("every feature is the same at every pixel")
    return proxies.Value(max(defined))


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    read = proxies.Inputs(noise=torch.randn(16, 3, 32, 32))
    names = ["confidence", "widest_feature", "expressivity", "naswot"]
    for name, value in proxies.compute(names, model, read, seed=0).items():
        print(f"{name:16} {value.value:10.4f}")


if __name__ == "__main__":
    main()

"""From a search to training: the network a search found, and a random one that costs as much.

Trains both on scikit-learn's digits (1,797 images of 8 x 8 pixels, enlarged to 32 x 32) with
skorch, and prints their test accuracies. It shows the path and nothing else: so small a data set,
so short a training and one seed say nothing of which network is better.

    pip install 'vkdnw[examples]'
    vkdnw search mobilenetv2 --flops 20M --target-resolution 32 --target-classes 10 \\
        --resolution 32 --evaluations 100 --out RUN
    python examples/train_found_network.py RUN
"""

import sys
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from skorch.dataset import ValidSplit
from torch import nn
from torch.nn.functional import interpolate

from vkdnw import search
from vkdnw.search.export import network_to_export
from vkdnw.search.spaces.search_space import SearchSpace

SIDE = 32
CLASSES = 10
TOLERANCE = 0.05
"""How far the FLOPs of the random network may be from those of the found one, as a share."""

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


def main(run: Path, epochs: int = 6) -> None:
    search_run = search.open(run)
    space, best = search_run.space, search_run.best().architecture
    other = random_network(space, space.cost(best).flops)
    images, labels = digits()
    for title, architecture in (("found", best), ("random", other)):
        accuracy = train(
            network_to_export.network(space, architecture, CLASSES), images, labels, epochs
        )
        flops = space.cost(architecture).flops
        print(f"{title:6}  {flops / 1e6:8.2f} MFLOPs  test accuracy {accuracy:.3f}  {architecture}")


def random_network(space: SearchSpace, flops: int) -> str:
    """A network drawn without regard to any score, with nearly so many FLOPs."""
    random = Random(0)
    for _ in range(100_000):
        architecture = space.sample(random)
        if abs(space.cost(architecture).flops - flops) <= TOLERANCE * flops:
            return architecture
    raise ValueError(f"no sample of {space.name} has {flops / 1e6:.1f} MFLOPs within 5%")


def digits() -> tuple[Images, Labels]:
    """The digits as images [1797, 3, 32, 32] with values in [-1, 1], and their labels."""
    data = load_digits()
    grey = torch.from_numpy(data.images).float()[:, None] / 8 - 1  # [1797, 1, 8, 8]
    large = interpolate(grey, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return large.expand(-1, 3, -1, -1).contiguous().numpy(), data.target.astype(np.int64)


def train(network: nn.Module, images: Images, labels: Labels, epochs: int) -> float:
    """The accuracy on a test set of a quarter of the images."""
    torch.manual_seed(0)
    trained, tested, trained_labels, tested_labels = train_test_split(
        images, labels, test_size=0.25, random_state=0, stratify=labels
    )
    classifier = NeuralNetClassifier(
        network,
        criterion=nn.CrossEntropyLoss,
        criterion__label_smoothing=0.1,
        optimizer=torch.optim.AdamW,
        lr=2e-3,
        batch_size=32,
        max_epochs=epochs,
        iterator_train__shuffle=True,
        train_split=ValidSplit(0.1, stratified=True, random_state=0),
        callbacks=[LRScheduler("CosineAnnealingLR", T_max=epochs)],
    )
    classifier.fit(trained, trained_labels)
    return float(classifier.score(tested, tested_labels))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

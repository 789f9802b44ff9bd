"""The resident memory of a process that scores stays within ``max_memory``, as the system counts
it."""

from __future__ import annotations

import sys

import pytest

from tests.library.peak_memory import MEBIBYTE, peak

SAMPLES = 4
BUDGET = 48 * MEBIBYTE  # the probe of two samples takes 38 of them

# Twelve convolutions on maps of 0.5 MiB: 12 MiB a sample between forward and backward, 26 with the
# gradients that are read.
SCORES_A_NETWORK = """
import sys
import torch
from torch import nn
import vkdnw

def resident(kind):
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith(kind))
    return int(line.split()[1]) * 1024

budget, samples, classes, mode = *map(int, sys.argv[1:4]), sys.argv[4]
torch.set_num_threads(1)
torch.manual_seed(0)
layers = [[nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()] for _ in range(12)]
head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)]
model = nn.Sequential(nn.Conv2d(3, 8, 1), *sum(layers, []), *head).eval()
images = torch.randn(samples, 3, 128, 128)
weights = vkdnw.weights.sampled(12)
vkdnw.score(model, images[:2, :, :16, :16], mode=mode)  # loads the libraries
with open("/proc/self/clear_refs", "w") as references:
    references.write("5")  # the peak starts anew
before = resident("VmRSS")
vkdnw.score(model, images, weights=weights, max_memory=budget, mode=mode)
print(resident("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("classes", "mode"), [(4, "reverse"), (1000, "forward")])
def test_a_score_stays_within_its_budget(classes: int, mode: str) -> None:
    assert peak(SCORES_A_NETWORK, BUDGET, SAMPLES, classes, mode) <= BUDGET

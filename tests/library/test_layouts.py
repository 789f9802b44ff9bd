"""Images are not laid out in channels_last where torch's convolutions write past their memory."""

import subprocess
import sys

import pytest
from torch import nn

from vkdnw.runtime.layouts import channels_last_is_safe


@pytest.mark.parametrize(
    ("layer", "safe"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Conv2d(3, 8, 1, stride=(1, 2)), False),
        (nn.Conv2d(16, 16, 1, stride=2, groups=4), False),
        (nn.Conv2d(8, 8, 1, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(4, 8, 3, stride=2), True),
    ],
    ids=str,
)
def test_strided_1x1_convolutions_of_few_channels_are_not_safe(layer: nn.Module, safe: bool):
    assert channels_last_is_safe([nn.ReLU(), layer]) is safe


PASSES = """
import torch
from torch import nn
from vkdnw import proxies
torch.manual_seed(0)
torch.set_num_threads(1)
halve = lambda c: [nn.Conv2d(c, 2 * c, 1, stride=2, bias=False), nn.BatchNorm2d(2 * c)]
model = nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
    *halve(4), *halve(8), *halve(16), nn.Conv2d(32, 1280, 1, bias=False), nn.BatchNorm2d(1280),
    nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 3),
)
noise, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % 3
inputs = proxies.Inputs(noise, noise_labels=labels)
for _ in range(20):
    proxies.compute(["grad_norm"], model, inputs, seed=0)
"""


def test_the_gradient_of_such_a_convolution_leaves_the_process_alive():
    """Without the check it ends with SIGABRT or SIGSEGV on a processor without AVX-512."""
    done = subprocess.run([sys.executable, "-c", PASSES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

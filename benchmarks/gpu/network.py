"""One NAS-Bench-201 network: time and memory of vkdnw.score against vmap(jacrev), and what the time
is made of.

The straightforward version computes what the score needs, the Jacobian of every sample with respect
to the same 128 scalars, in the way torch's documentation shows: jacrev of the functional model,
under vmap, with respect to the parameter tensors that hold them, and takes the scalars out of it.
Then it forms the Fisher matrix and its eigenvalues with torch.

    python benchmarks/gpu/network.py [--device cpu] [--small] [--repeats N]
"""

from __future__ import annotations

import random

import torch
from clock import Options, milliseconds, options, peak_bytes, tell, wait
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.profiler import ProfilerActivity, profile

import vkdnw
from vkdnw.runtime.precision import float32_on
from vkdnw.search.spaces import nb201
from vkdnw.weights import DEFAULT, select

CONV = "nor_conv_3x3"
DENSE = f"|{CONV}~0|+|{CONV}~0|{CONV}~1|+|{CONV}~0|{CONV}~1|{CONV}~2|"
SMOOTHING = 0.05


def network(o: Options, architecture: str) -> nn.Module:
    model = nb201.build(architecture, channels=16, cells=1 if o.small else 5, classes=10)
    vkdnw.initialise(model, "kaiming_normal", seed=0)
    return model.to(o.device).eval()


def straightforward(model: nn.Module, x: Tensor, chunk: int) -> Tensor:
    """Eigenvalues of the Fisher matrix, `chunk` samples at a time."""
    selection = select(model, DEFAULT)
    everything = dict(model.named_parameters())
    chosen = {name: everything[name].detach() for name in selection.names}
    rest = {k: v.detach() for k, v in (everything | dict(model.named_buffers())).items()}

    def logits(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        return functional_call(model, rest | parameters, (sample[None],))[0]

    with torch.no_grad():
        p = (1 - SMOOTHING) * torch.softmax(model(x).double(), 1) + SMOOTHING / 10
    fisher = torch.zeros(len(selection), len(selection), dtype=torch.float64, device=x.device)
    for first in range(0, len(x), chunk):
        some = x[first : first + chunk]
        found = vmap(jacrev(logits), (None, 0))(chosen, some)
        columns = [
            found[name].flatten(2)[..., indices.to(x.device)]
            for name, indices in zip(selection.names, selection.indices, strict=True)
        ]
        jacobian = torch.cat(columns, -1).double()  # [b, C, P]
        q = p[first : first + chunk]
        covariance = torch.diag_embed(q) - q[:, :, None] * q[:, None]
        fisher += torch.einsum("bcp,bcd,bdq->pq", jacobian, covariance, jacobian) / len(x)
    return torch.linalg.eigvalsh(fisher)


def compare(o: Options, name: str, model: nn.Module, x: Tensor) -> None:
    ours = milliseconds(lambda: vkdnw.score(model, x), o.device, o.repeats)
    ours_bytes = peak_bytes(lambda: vkdnw.score(model, x), o.device)
    tell(f"{name}: vkdnw.score", ours, "ms", peak_megabytes=ours_bytes / 1e6)
    for chunk in (len(x), max(1, len(x) // 8)):
        title = f"{name}: vmap(jacrev), {chunk} samples at a time"
        try:
            with float32_on(o.device, tf32=False):
                eigenvalues = straightforward(model, x, chunk)
                theirs = milliseconds(
                    lambda c=chunk: straightforward(model, x, c), o.device, max(1, o.repeats // 5)
                )
                theirs_bytes = peak_bytes(lambda c=chunk: straightforward(model, x, c), o.device)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            tell(title, None, "ms", note="out of memory")
            continue
        tell(title, theirs, "ms", peak_megabytes=theirs_bytes / 1e6)
        found = vkdnw.score(model, x).eigenvalues
        error = float((found - eigenvalues.cpu()).norm() / found.norm())
        tell(f"{title}: times slower", theirs / ours, "x", difference_of_eigenvalues=error)
        if ours_bytes:
            tell(f"{title}: times the memory", theirs_bytes / ours_bytes, "x")


def break_down(o: Options, name: str, model: nn.Module, x: Tensor) -> None:
    """Where the device's and the host's time goes."""
    vkdnw.score(model, x)
    wait(o.device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as taken:
        vkdnw.score(model, x)
        wait(o.device)
    on_gpu = o.device.type == "cuda"
    events = [
        (e.self_device_time_total if on_gpu else e.self_cpu_time_total, e.key, e.count)
        for e in taken.key_averages()
    ]
    total = sum(time for time, _, _ in events)
    tell(f"{name}: busy time in all", total / 1e3, "ms", launches=sum(c for t, _, c in events if t))
    for time, key, count in sorted(events, reverse=True)[:12]:
        tell(f"{name}: {key[:90]}", 100 * time / max(total, 1e-9), "% of busy time", calls=count)


def main() -> None:
    o = options(__doc__ or "")
    torch.manual_seed(0)
    side = 8 if o.small else 32
    x = torch.randn(4 if o.small else 64, 3, side, side).to(o.device)
    architectures = {"all conv3x3": DENSE}
    if not o.small:
        architectures["a random one"] = random.Random(1).choice(nb201.live())
    for name, architecture in architectures.items():
        model = network(o, architecture)
        compare(o, name, model, x)
        break_down(o, name, model, x)


if __name__ == "__main__":
    main()

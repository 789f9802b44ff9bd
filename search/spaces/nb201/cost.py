"""The cost of an architecture, from its string alone, as the official benchmark counts it.

FLOPs are multiply-accumulates of convolutions and of the linear layer, plus one for each of its
biases; BatchNorm, ReLU and pooling count nothing. With the defaults these are CIFAR-10's numbers;
CIFAR-100 has ``classes=100``, ImageNet16-120 has ``classes=120, resolution=16``.
"""

from vkdnw.search.spaces.nb201.architecture import CONVOLUTIONS, parse

IMAGE_CHANNELS = 3
STAGES = 3
"""Stages of cells; the reduction between two halves the image's sides and doubles its channels."""


def flops(
    arch: str, channels: int = 16, cells: int = 5, classes: int = 10, resolution: int = 32
) -> int:
    """FLOPs of one image of ``resolution`` x ``resolution`` pixels (a multiple of 4).

    ``channels`` are those of the first stage, ``cells`` is the number of cells in each of the three
    stages. Dead convolutions count. Raises `ArchitectureError` for a bad string, `ValueError` for a
    bad size.
    """
    check_sizes(channels, cells, classes)
    check_resolution(resolution, resolution)
    kernels = _kernel_area(arch)
    width, pixels = channels, resolution**2
    total = pixels * IMAGE_CHANNELS * width * 9 + cells * pixels * width**2 * kernels
    for _ in range(STAGES - 1):
        width, pixels = 2 * width, pixels // 4
        total += pixels * (_reduction_weights(width) + cells * width**2 * kernels)
    return total + width * classes + classes


def parameters(arch: str, channels: int = 16, cells: int = 5, classes: int = 10) -> int:
    """The number of trainable scalars, dead convolutions included. Errors as in `flops`."""
    check_sizes(channels, cells, classes)
    kernels, edges = _kernel_area(arch), convolutions(arch)
    width = channels
    total = (
        IMAGE_CHANNELS * width * 9 + 2 * width + cells * (width**2 * kernels + 2 * width * edges)
    )
    for _ in range(STAGES - 1):
        width = 2 * width
        total += _reduction_weights(width) + 4 * width
        total += cells * (width**2 * kernels + 2 * width * edges)
    return total + 2 * width + width * classes + classes


def layers(arch: str, cells: int = 5) -> int:
    """The number of parameter tensors: 21 outside the cells, 3 per convolution edge of each cell.

    A convolution of the cell has a weight, and a weight and a bias of its BatchNorm. This is the
    paper's "number of trainable layers", 21 + 45 per convolution edge with 5 cells in each stage.
    """
    check_sizes(1, cells, 1)
    stem, reductions, head = 3, 7 * (STAGES - 1), 4
    return stem + reductions + head + 3 * STAGES * cells * convolutions(arch)


def convolutions(arch: str) -> int:
    """The number of edges of the cell that carry a convolution, 0 to 6, dead ones included."""
    return sum(operation in CONVOLUTIONS for operation in parse(arch))


def check_sizes(channels: int, cells: int, classes: int) -> None:
    """Raise `ValueError` unless every size of a network is a positive integer."""
    for name, size in (("channels", channels), ("cells", cells), ("classes", classes)):
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a positive integer, got {size!r}")


def check_resolution(height: int, width: int) -> None:
    """Raise `ValueError` unless the two reductions can halve an image of ``height`` x ``width``."""
    if height < 4 or width < 4 or height % 4 or width % 4:
        raise ValueError(
            "the network halves the image twice, so its sides must be positive multiples of 4; "
            f"got {height}x{width}"
        )


def _kernel_area(arch: str) -> int:
    """Kernel positions of all convolutions of a cell: 1 for each 1x1, 9 for each 3x3."""
    return sum(CONVOLUTIONS[op] ** 2 for op in parse(arch) if op in CONVOLUTIONS)


def _reduction_weights(width: int) -> int:
    """Weights of a reduction to ``width`` channels; all its convolutions give the small image."""
    before = width // 2
    return 9 * before * width + 9 * width**2 + before * width

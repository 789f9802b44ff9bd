"""Lets torchvision be imported beside a torch that its compiled operators do not fit.

timm imports torchvision, whose wheels are built for one torch and fail to load elsewhere (a CPU
build, say). Scoring classifiers calls none of these operators, so declaring them is enough. Import
this before timm; it does nothing where the operators load.
"""

import contextlib

import torch

_BOXES = "Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_BOXES_BACKWARD = _BOXES.replace("input", "grad")
_SIZES = "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
_SAMPLING = "int sampling_ratio"
_CONVOLUTION = (
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, "
    "SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask"
)

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align({_BOXES}, {_SAMPLING}, bool aligned) -> Tensor",
    f"roi_pool({_BOXES}) -> (Tensor, Tensor)",
    f"ps_roi_align({_BOXES}, {_SAMPLING}) -> (Tensor, Tensor)",
    f"ps_roi_pool({_BOXES}) -> (Tensor, Tensor)",
    f"_roi_align_backward({_BOXES_BACKWARD}, {_SIZES}, {_SAMPLING}, bool aligned) -> Tensor",
    f"_roi_pool_backward({_BOXES_BACKWARD}, Tensor argmax, {_SIZES}) -> Tensor",
    f"_ps_roi_align_backward({_BOXES_BACKWARD}, Tensor map, {_SAMPLING}, {_SIZES}) -> Tensor",
    f"_ps_roi_pool_backward({_BOXES_BACKWARD}, Tensor map, {_SIZES}) -> Tensor",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, "
    f"{_CONVOLUTION}) -> Tensor",
    "_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, "
    f"Tensor mask, Tensor bias, {_CONVOLUTION}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)


def declare() -> torch.library.Library | None:
    """Declare the operators where torchvision cannot; keep the result alive."""
    with contextlib.suppress(RuntimeError, ImportError, OSError, AttributeError):
        import torchvision  # noqa: F401

        return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    return library

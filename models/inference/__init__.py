"""From predictions to semantic, panoptic and instance results: a system's way a file."""

from models.inference.base import (
    Frame,
    Inference,
    InferenceSpec,
    Instances,
    Panoptic,
    Segment,
    Size,
    Task,
    crop_and_resize,
    pad_to_multiple,
    resize,
)
from models.inference.heuristic import HeuristicSpec
from models.inference.mask_classification import (
    MaskClassificationSpec,
    instance_inference,
    panoptic_inference,
    semantic_inference,
    semantic_map,
)
from models.inference.mask_wise import MaskWiseSpec, mask_wise_merging
from models.inference.pixel_argmax import PIXEL_ARGMAX_WEIGHTED, PixelArgmaxSpec

__all__ = [
    "PIXEL_ARGMAX_WEIGHTED",
    "Frame",
    "HeuristicSpec",
    "Inference",
    "InferenceSpec",
    "Instances",
    "MaskClassificationSpec",
    "MaskWiseSpec",
    "Panoptic",
    "PixelArgmaxSpec",
    "Segment",
    "Size",
    "Task",
    "crop_and_resize",
    "instance_inference",
    "mask_wise_merging",
    "pad_to_multiple",
    "panoptic_inference",
    "resize",
    "semantic_inference",
    "semantic_map",
]

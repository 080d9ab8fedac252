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
from models.inference.mask_classification import (
    MaskClassificationSpec,
    instance_inference,
    panoptic_inference,
    semantic_inference,
)

__all__ = [
    "Frame",
    "Inference",
    "InferenceSpec",
    "Instances",
    "MaskClassificationSpec",
    "Panoptic",
    "Segment",
    "Size",
    "Task",
    "crop_and_resize",
    "instance_inference",
    "pad_to_multiple",
    "panoptic_inference",
    "resize",
    "semantic_inference",
]

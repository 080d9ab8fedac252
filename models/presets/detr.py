"""DETR's panoptic presets, after its released configuration."""

from __future__ import annotations

from models.detr import DETRSpec
from models.presets.backbones import BACKBONES
from models.presets.datasets import NUM_CLASSES
from models.presets.registry import Presets, fixed

_NO_THINGS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
_STUFF = (
    92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147, 148, 149, 151,
    154, 155, 156, 159, 161, 166, 168, 171, *range(175, 179), 180, 181, *range(184, 201),
)  # fmt: skip
COCO_PANOPTIC_IDS = (*sorted(set(range(1, 91)) - _NO_THINGS), *_STUFF)
"""The category ids of COCO panoptic's 133 classes, 80 things and 53 stuff, in the order of the classes."""

COLUMNS = 250
"""The released DETR tells 250 ids apart, a number large enough: its columns are the category ids."""


def detr(backbone: str) -> DETRSpec:
    """Panoptic DETR on COCO; stem and first stage of the backbone do not train."""
    return DETRSpec(
        backbone=BACKBONES[backbone].override({"norm": "frozen", "frozen_stages": 1}),
        num_classes=NUM_CLASSES["coco_panoptic"],
        columns=COLUMNS,
        class_ids=COCO_PANOPTIC_IDS,
    )


PRESETS: Presets = {
    f"detr_{backbone}_coco_panoptic": fixed(lambda b=backbone: detr(b)) for backbone in ("r50", "r101")
}

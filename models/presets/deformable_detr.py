"""Deformable DETR's panoptic preset, after Panoptic SegFormer's appendix A.2; it was never released.

The single-scale model is the same with the overrides `models.deformable_detr.SINGLE_SCALE`.
"""

from __future__ import annotations

from models.deformable_detr import DeformableDETRSpec
from models.presets.backbones import BACKBONES
from models.presets.datasets import NUM_CLASSES
from models.presets.registry import Presets, fixed


def deformable_detr(backbone: str) -> DeformableDETRSpec:
    """Multi-scale panoptic Deformable DETR on COCO, on the backbone as mmdetection has it."""
    return DeformableDETRSpec(
        backbone=BACKBONES[backbone].override({"norm": "eval", "frozen_stages": 1}),
        num_classes=NUM_CLASSES["coco_panoptic"],
    )


PRESETS: Presets = {"deformable_detr_r50_coco_panoptic": fixed(lambda: deformable_detr("r50"))}

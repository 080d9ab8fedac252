"""Panoptic SegFormer's presets, after its released configurations.

That of ADE20K was not released: it is COCO's model with ADE20K's classes, the 100 things first (section 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.backbones import BackboneSpec, PVTv2Spec, ResNetSpec, SwinSpec
from models.panoptic_segformer import PanopticSegFormerSpec
from models.presets.datasets import NUM_CLASSES, NUM_THINGS
from models.presets.registry import Presets
from models.spec import SpecError

_BACKBONES: Mapping[str, BackboneSpec] = {
    "r50": ResNetSpec(depth=50, norm="eval", frozen_stages=1),
    "r101": ResNetSpec(depth=101, norm="eval", frozen_stages=1),
    "swin_l": SwinSpec(variant="large", window=7, outputs=("res3", "res4", "res5")),
    "pvt_v2_b0": PVTv2Spec(variant="b0"),
    "pvt_v2_b2": PVTv2Spec(variant="b2"),
    "pvt_v2_b5": PVTv2Spec(variant="b5"),
}
_CONFIDENT = ("swin_l", "pvt_v2_b5")  # released with t_cnf = 0.3 instead of 0.25

PAPER: Mapping[str, Any] = {
    "levels": 3,
    "things": {"layers": 6, "tail": False},
    "stuff": None,
    "scores": "masks",
    "loss": {
        "class_weight": 2.0, "thing_class_weight": 2.0, "stuff_class_weight": 2.0, "mask_weight": 1.0,
        "match_class_weight": 2.0, "match_mask_weight": 1.0, "rounds": 3, "stuff_class_without_things": True,
    },
    "inference": {"keep_stuff": 0.6, "average": "mean"},
}  # fmt: skip
"""What the paper's text says where the released code does otherwise; see the README of `models`."""

JOINT_MATCHING: Mapping[str, Any] = {
    "num_things": None,
    "loss.num_things": None,
    "location.num_queries": 353,
    "kept": 153,
}
"""One set of queries for things and stuff (Tables 5 and 8, appendix B.4)."""


def panoptic_segformer(
    backbone: str, variant: str = "released", dataset: str = "coco"
) -> PanopticSegFormerSpec:
    """Panoptic SegFormer on COCO or ADE20K; `variant` "paper" follows the text.

    Raises:
        SpecError: no such variant.
    """
    things = NUM_THINGS[dataset]
    spec = PanopticSegFormerSpec(
        backbone=_BACKBONES[backbone], num_things=things, num_classes=NUM_CLASSES[f"{dataset}_panoptic"]
    ).override({"loss.num_things": things})
    if backbone in _CONFIDENT:
        spec = spec.override({"inference": {"confidence_things": 0.3, "confidence_stuff": 0.3}})
    if variant not in ("released", "paper"):
        raise SpecError(f"there is no variant {variant!r} of it")
    return spec.override(PAPER) if variant == "paper" else spec


PRESETS: Presets = {
    **{
        f"panoptic_segformer_{backbone}_coco": lambda variant, b=backbone: panoptic_segformer(b, variant)
        for backbone in _BACKBONES
    },
    "panoptic_segformer_r50_ade20k_panoptic": lambda variant: panoptic_segformer("r50", variant, "ade20k"),
}

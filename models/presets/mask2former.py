"""Mask2Former's presets, after its released configurations."""

from __future__ import annotations

from models.mask2former import Mask2FormerSpec
from models.presets.backbones import BACKBONES
from models.presets.datasets import NUM_CLASSES
from models.presets.registry import Presets, fixed


def mask2former(backbone: str, dataset: str) -> Mask2FormerSpec:
    """Semantic Mask2Former; as in the released configs, batch norm is frozen with R50 on ADE20K only."""
    spec = BACKBONES[backbone]
    if backbone == "r101" or (backbone, dataset) == ("r50", "cityscapes"):
        spec = spec.override({"norm": "batch"})
    return Mask2FormerSpec(backbone=spec, num_classes=NUM_CLASSES[dataset])


_BUILT = {
    "ade20k": ("r50", "r101", "swin_t", "swin_s", "swin_b", "swin_l"),
    "cityscapes": ("r50", "r101", "swin_t", "swin_s", "swin_b", "swin_l"),
}

PRESETS: Presets = {
    f"mask2former_{backbone}_{dataset}": fixed(lambda b=backbone, d=dataset: mask2former(b, d))
    for dataset, backbones in _BUILT.items()
    for backbone in backbones
}

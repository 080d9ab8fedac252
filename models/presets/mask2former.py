"""Mask2Former's presets, after its released configurations."""

from __future__ import annotations

from models.inference import MaskClassificationSpec
from models.mask2former import Mask2FormerSpec
from models.presets.backbones import BACKBONES
from models.presets.datasets import NUM_CLASSES
from models.presets.registry import Presets, fixed


def mask2former(backbone: str, dataset: str, task: str = "semantic") -> Mask2FormerSpec:
    """Mask2Former as its released configuration for this data set and task has it.

    Batch norm is frozen except on Cityscapes and with R101 on ADE20K. Swin-L has 200 queries where segments
    are told apart. Models that do more than semantic segmentation crop and resize their masks before they
    combine them. On Mapillary Vistas every query takes part in the panoptic map (threshold 0).
    """
    spec, several = BACKBONES[backbone], task != "semantic"
    if backbone in ("r50", "r101") and (dataset == "cityscapes" or (backbone, dataset) == ("r101", "ade20k")):
        spec = spec.override({"norm": "batch"})
    inference = MaskClassificationSpec(
        object_threshold=0.0 if dataset == "mapillary" else 0.8, masks_first=several
    )
    model = Mask2FormerSpec(
        backbone=spec,
        inference=inference,
        num_classes=NUM_CLASSES[f"{dataset}_{task}" if several else dataset],
    )
    return model.override({"decoder.num_queries": 200}) if several and backbone == "swin_l" else model


_EVERY = ("r50", "r101", "swin_t", "swin_s", "swin_b", "swin_l")
_BUILT = {
    ("ade20k", "semantic"): _EVERY,
    ("ade20k", "panoptic"): ("r50", "swin_l"),
    ("ade20k", "instance"): ("r50", "swin_l"),
    ("cityscapes", "semantic"): _EVERY,
    ("cityscapes", "panoptic"): _EVERY,
    ("cityscapes", "instance"): _EVERY,
    ("coco", "panoptic"): _EVERY,
    ("coco", "instance"): _EVERY,
    ("mapillary", "semantic"): ("r50", "swin_l"),
    ("mapillary", "panoptic"): ("r50", "swin_l"),
}

PRESETS: Presets = {
    f"mask2former_{backbone}_{dataset}" + (f"_{task}" if task != "semantic" else ""): fixed(
        lambda b=backbone, d=dataset, t=task: mask2former(b, d, t)
    )
    for (dataset, task), backbones in _BUILT.items()
    for backbone in backbones
}

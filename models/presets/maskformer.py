"""MaskFormer's presets, after its released configurations.

Not released, but printed in the tables: PASCAL-Context, and COCO-Stuff-10K with Swin (PFT's Tables III and
IV) are the semantic model with other classes, COCO's instances (Mask2Former's Table 2) the panoptic one with
the things alone.
"""

from __future__ import annotations

from models.decoders import TransformerEncoderSpec
from models.inference import MaskClassificationSpec
from models.maskformer import MaskFormerSpec
from models.pixel_decoders import FPNSpec
from models.presets.backbones import BACKBONES
from models.presets.datasets import NUM_CLASSES
from models.presets.registry import Presets, fixed

R101C = BACKBONES["r101"].override({"stem": (64, 64, 128), "multi_grid": (1, 2, 4)})
"""detectron2's DeepLab ResNet-101, without dilated strides. Batch norm is frozen in all released configs."""

_OBJECT_THRESHOLD = {"ade20k_panoptic": 0.7, "coco_panoptic": 0.8, "coco_instance": 0.8}


def maskformer(backbone: str, dataset: str) -> MaskFormerSpec:
    """MaskFormer as its released configuration has it; one that was not released as the module says."""
    spec = MaskFormerSpec(
        backbone=R101C if backbone == "r101c" else BACKBONES[backbone], num_classes=NUM_CLASSES[dataset]
    )
    if dataset in _OBJECT_THRESHOLD:
        spec = spec.override(
            {
                "inference": MaskClassificationSpec(
                    object_threshold=_OBJECT_THRESHOLD[dataset], masks_first=True, pixels="won"
                ),
                "size_divisor": 1 if dataset.startswith("coco_") else 32,
            }
        )
        if not backbone.startswith("swin"):
            spec = spec.override(
                {"pixel_decoder": FPNSpec(encoder=TransformerEncoderSpec()), "memory": ("encoder",)}
            )
    return spec


_BUILT = {
    "ade20k": ("r50", "r101", "r101c", "swin_t", "swin_s", "swin_b", "swin_l"),
    "ade20k_panoptic": ("r50", "r101"),
    "cityscapes": ("r101", "r101c"),
    "coco_panoptic": ("r50", "r101", "swin_t", "swin_s", "swin_b", "swin_l"),
    "coco_instance": ("r50",),
    "coco_stuff10k": ("r50", "r101", "r101c", "swin_t", "swin_s", "swin_l"),
    "pascal_context": ("r50", "r101", "r101c"),
    "mapillary": ("r50",),
}

PRESETS: Presets = {
    f"maskformer_{backbone}_{dataset}": fixed(lambda b=backbone, d=dataset: maskformer(b, d))
    for dataset, backbones in _BUILT.items()
    for backbone in backbones
}

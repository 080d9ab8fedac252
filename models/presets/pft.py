"""PFT's presets: the backbones of its tables II (ADE20K), III (COCO-Stuff-10K) and IV (PASCAL-Context).

Its ResNets are mmsegmentation's: BatchNorm is trained, and R101c has a stem of three 3x3 convolutions.
"""

from __future__ import annotations

from models.backbones import BackboneSpec, ResNetSpec
from models.losses.pft import PFTLossSpec
from models.pft import PFTSpec
from models.presets.backbones import BACKBONES
from models.presets.datasets import NUM_CLASSES
from models.presets.registry import Presets, fixed

_RESNETS = ("r50", "r101", "r101c")
_BUILT = {
    "ade20k": (*_RESNETS, "swin_t", "swin_s", "swin_b", "swin_l"),
    "coco_stuff10k": (*_RESNETS, "swin_t", "swin_s", "swin_l"),
    "pascal_context": _RESNETS,
}


def pft(backbone: str, dataset: str) -> PFTSpec:
    """PFT with the loss weights of the supplement's table X."""
    loss = PFTLossSpec(
        class_weight=0.5 if dataset == "pascal_context" else 1.0,
        focal_class_weight=2.0 if backbone in ("swin_t", "swin_s") else 1.0,
    )
    return PFTSpec(backbone=_backbone(backbone), loss=loss, num_classes=NUM_CLASSES[dataset])


def _backbone(name: str) -> BackboneSpec:
    if name == "r101c":
        return ResNetSpec(depth=101, stem=(32, 32, 64), norm="batch")
    spec = BACKBONES[name]
    return spec.override({"norm": "batch"}) if isinstance(spec, ResNetSpec) else spec


PRESETS: Presets = {
    f"pft_{backbone}_{dataset}": fixed(lambda b=backbone, d=dataset: pft(b, d))
    for dataset, backbones in _BUILT.items()
    for backbone in backbones
}

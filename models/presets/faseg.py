"""FASeg's presets: those of Mask2Former, changed."""

from __future__ import annotations

from models.faseg import faseg
from models.presets.mask2former import mask2former
from models.presets.registry import Presets

_BUILT = {"ade20k": ("r50", "swin_t", "swin_b", "swin_l"), "cityscapes": ("r50",)}

PRESETS: Presets = {
    f"faseg_{backbone}_{dataset}": lambda variant, b=backbone, d=dataset: faseg(mask2former(b, d), variant)
    for dataset, backbones in _BUILT.items()
    for backbone in backbones
}

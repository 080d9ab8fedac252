"""The backbones that presets name."""

from __future__ import annotations

from collections.abc import Mapping

from models.backbones import BackboneSpec, ResNetSpec, SwinSpec

BACKBONES: Mapping[str, BackboneSpec] = {
    "r50": ResNetSpec(depth=50, norm="frozen"),
    "r101": ResNetSpec(depth=101, norm="frozen"),
    "swin_t": SwinSpec(variant="tiny"),
    "swin_s": SwinSpec(variant="small"),
    "swin_b": SwinSpec(variant="base"),
    "swin_l": SwinSpec(variant="large"),
}

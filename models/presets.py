"""Named specs: `system_backbone_dataset`, each derived from the one it modifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from models.backbones import BackboneSpec, ResNetSpec, SwinSpec
from models.faseg import VARIANTS, faseg
from models.mask2former import Mask2FormerSpec
from models.spec import Spec, SpecError, nearest

NUM_CLASSES = {"ade20k": 150, "cityscapes": 19}

BACKBONES: Mapping[str, BackboneSpec] = {
    "r50": ResNetSpec(depth=50, norm="frozen"),
    "r101": ResNetSpec(depth=101, norm="batch"),
    "swin_t": SwinSpec(variant="tiny"),
    "swin_s": SwinSpec(variant="small"),
    "swin_b": SwinSpec(variant="base"),
    "swin_l": SwinSpec(variant="large"),
}


def mask2former(backbone: str, dataset: str) -> Mask2FormerSpec:
    """Semantic Mask2Former; as in the released configs, only R50 on ADE20K has its batch norm frozen."""
    spec = BACKBONES[backbone]
    if (backbone, dataset) == ("r50", "cityscapes"):
        spec = spec.override({"norm": "batch"})
    return Mask2FormerSpec(backbone=spec, num_classes=NUM_CLASSES[dataset])


_MASK2FORMER = {
    "ade20k": ("r50", "r101", "swin_t", "swin_s", "swin_b", "swin_l"),
    "cityscapes": ("r50", "r101", "swin_t", "swin_s", "swin_b", "swin_l"),
}
_FASEG = {"ade20k": ("r50", "swin_t", "swin_b", "swin_l"), "cityscapes": ("r50",)}


def _table() -> dict[str, Callable[[str], Spec]]:
    """Each preset as a function of the variant."""
    table: dict[str, Callable[[str], Spec]] = {}
    for dataset, backbones in _MASK2FORMER.items():
        for backbone in backbones:
            table[f"mask2former_{backbone}_{dataset}"] = lambda _, b=backbone, d=dataset: mask2former(b, d)
    for dataset, backbones in _FASEG.items():
        for backbone in backbones:
            table[f"faseg_{backbone}_{dataset}"] = lambda v, b=backbone, d=dataset: faseg(
                mask2former(b, d), v
            )
    return table


_PRESETS = _table()


def presets() -> list[str]:
    """The names of all presets."""
    return list(_PRESETS)


def preset(name: str, variant: str = "released") -> Any:
    """The spec of a preset.

    Args:
        name: one of `presets()`.
        variant: "released" follows the authors' code, "paper" their text, where a system has both.

    Raises:
        SpecError: no such preset (the nearest names are given) or variant.
    """
    if name not in _PRESETS:
        raise SpecError(f"no preset {name!r}; nearest: {nearest(name, _PRESETS)}")
    if variant not in VARIANTS or (variant != "released" and not name.startswith("faseg_")):
        raise SpecError(f"preset {name!r} has no variant {variant!r}")
    return _PRESETS[name](variant)


def build(
    name: str,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    variant: str = "released",
    **fields: Any,
) -> nn.Module:
    """The model of a preset, with overrides.

    Args:
        name: one of `presets()`.
        device: "meta" gives shapes without weights.
        overrides: values by dotted path.
        variant: as in `preset`.
        **fields: more overrides, with two underscores for the dot: `decoder__num_queries=50`.

    Raises:
        SpecError: unknown preset, variant, path or part; a value of the wrong type.
    """
    changes = {**(overrides or {}), **{key.replace("__", "."): value for key, value in fields.items()}}
    return preset(name, variant).override(changes).build(device)

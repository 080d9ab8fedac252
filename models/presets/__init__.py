"""Named specs: `system_backbone_dataset[_task]`, each derived from the one it modifies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from models.presets import deformable_detr, detr, faseg, mask2former, maskformer, panoptic_segformer, pft
from models.presets.registry import Presets
from models.spec import SpecError, nearest

_SYSTEMS = (mask2former, maskformer, faseg, pft, panoptic_segformer, detr, deformable_detr)
_PRESETS: Presets = {name: make for system in _SYSTEMS for name, make in system.PRESETS.items()}


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
    try:
        return _PRESETS[name](variant)
    except SpecError as error:
        raise SpecError(f"preset {name!r}: {error}") from error


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

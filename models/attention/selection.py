"""Which fine pixels HRCA attends to, given scores of coarse ones: the set Omega of FASeg, section 3.3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from models.spec import Spec

Size = tuple[int, int]


class Selection(Protocol):
    """Chooses pixels of the fine level by scores of the coarse one."""

    def __call__(self, scores: Tensor, coarse: Size, fine: Size) -> Tensor:
        """scores [B, h * w] at the coarse size -> indices [B, K] into the flattened fine level."""
        ...


@dataclass(frozen=True, kw_only=True)
class SelectionSpec(Spec):
    """Base of the selections' specs."""

    def build(self) -> Selection:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class CellSelectionSpec(SelectionSpec):
    """The released code: the best 1/`fraction` of the coarse cells, each with its block of fine pixels.

    Nothing is chosen if there are fewer than `fraction` cells (an image below 32,768 pixels at stride 32).
    """

    part: ClassVar[str] = "cells"
    least: ClassVar[dict[str, int]] = {"fraction": 1}
    fraction: int = 32

    def build(self) -> Selection:
        return CellSelection(self.fraction)


@dataclass(frozen=True, kw_only=True)
class PixelSelectionSpec(SelectionSpec):
    """The paper's text: scores are upsampled bilinearly, the best 1/`fraction` of the fine pixels chosen."""

    part: ClassVar[str] = "pixels"
    least: ClassVar[dict[str, int]] = {"fraction": 1}
    fraction: int = 32

    def build(self) -> Selection:
        return PixelSelection(self.fraction)


@dataclass(frozen=True, kw_only=True)
class RandomSelectionSpec(SelectionSpec):
    """Random Omega (FASeg, Table 6): 1/`fraction` of the fine pixels, drawn anew for each image and call.

    The scores are not looked at.
    """

    part: ClassVar[str] = "random"
    least: ClassVar[dict[str, int]] = {"fraction": 1}
    fraction: int = 32

    def build(self) -> Selection:
        return RandomSelection(self.fraction)


@dataclass(frozen=True)
class CellSelection:
    """Whole blocks of fine pixels under the coarse cells with the highest scores."""

    fraction: int

    def __call__(self, scores: Tensor, coarse: Size, fine: Size) -> Tensor:
        block_h, block_w = fine[0] // coarse[0], fine[1] // coarse[1]
        if (coarse[0] * block_h, coarse[1] * block_w) != tuple(fine):
            raise ValueError(f"a level of {fine} does not divide into blocks under one of {coarse}")
        cells = _best(scores, scores.shape[1] // self.fraction)
        corner = (cells // coarse[1]) * (block_h * fine[1]) + (cells % coarse[1]) * block_w
        rows = torch.arange(block_h, device=scores.device) * fine[1]
        within = (rows[:, None] + torch.arange(block_w, device=scores.device)).flatten()
        return (corner[:, :, None] + within).flatten(1)


@dataclass(frozen=True)
class PixelSelection:
    """Single fine pixels with the highest interpolated scores."""

    fraction: int

    def __call__(self, scores: Tensor, coarse: Size, fine: Size) -> Tensor:
        maps = scores.unflatten(1, coarse)[:, None]
        upsampled = F.interpolate(maps, size=fine, mode="bilinear", align_corners=False).flatten(1)
        return _best(upsampled, fine[0] * fine[1] // self.fraction)


@dataclass(frozen=True)
class RandomSelection:
    """Single fine pixels without replacement, from the device's global generator."""

    fraction: int

    def __call__(self, scores: Tensor, coarse: Size, fine: Size) -> Tensor:
        pixels = fine[0] * fine[1]
        return _best(torch.rand(scores.shape[0], pixels, device=scores.device), pixels // self.fraction)


def _best(scores: Tensor, count: int) -> Tensor:
    """Indices [B, count] of the highest scores, best first; of equal ones the first."""
    return scores.argsort(dim=1, descending=True, stable=True)[:, :count]

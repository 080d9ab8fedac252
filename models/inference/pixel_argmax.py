"""Pixel-wise argmax: each pixel to the best mask there, with which mask-wise merging is compared.

Panoptic SegFormer, Table 7 and appendix B.1: (p) looks at the masks alone, as DETR (Carion et al. 2020,
section 4.4); (p*) multiplies them with the class probability, as MaskFormer (Cheng et al. 2021, section 3.4).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.inference.base import Frame, Inference, InferenceSpec, Panoptic, Segment, Task
from models.inference.candidates import Candidates, candidates


@dataclass(frozen=True, kw_only=True)
class PixelArgmaxSpec(InferenceSpec):
    """The defaults are (p); `PIXEL_ARGMAX_WEIGHTED` is (p*) with the thresholds of the released MaskFormer.

    Which thresholds Panoptic SegFormer was compared with, its paper does not say: the confidence is ours, the
    smallest area DETR's.
    """

    part: ClassVar[str] = "pixel_argmax"
    least: ClassVar[dict[str, int]] = {"min_area": 0}

    by_class: bool = False
    """Compare class probability * mask (p*), not the mask alone (p)."""
    confidence: float = 0.25
    """Candidates with a class probability up to this take no part."""
    threshold: float = 0.0
    """The winner of a pixel gets it only if its mask is above this there; else the pixel is void."""
    keep: float = 0.0
    """Smallest ratio of pixels won to pixels of the mask (above 0.5) of a segment."""
    min_area: int = 4
    """Segments of at most so many pixels are removed, and their pixels go to the others."""

    def build(self) -> PixelArgmax:
        return PixelArgmax(self)


PIXEL_ARGMAX_WEIGHTED = PixelArgmaxSpec(by_class=True, confidence=0.8, threshold=0.5, keep=0.8, min_area=0)


class PixelArgmax(Inference):
    """For the same outputs as mask-wise merging."""

    tasks: tuple[Task, ...] = ("panoptic",)

    def __init__(self, spec: PixelArgmaxSpec) -> None:
        self.spec = spec

    def panoptic(self, output: Any, frame: Frame, things: Collection[int]) -> list[Panoptic]:
        """One map for each image. Segments of the same stuff class are one."""
        spec, maps = self.spec, []
        for found in candidates(output):
            found = found.take(found.scores > spec.confidence)
            winner, value, areas = pixel_winners(found, frame, spec.by_class, spec.min_area)
            winner = winner.masked_fill(value <= spec.threshold, -1)
            maps.append(self._segments(found.labels.tolist(), winner, areas, frozenset(things)))
        return maps

    def _segments(
        self, labels: list[int], winner: Tensor, areas: list[tuple[int, int]], things: frozenset[int]
    ) -> Panoptic:
        numbers = torch.zeros(len(labels) + 1, dtype=torch.int32)  # the last is of pixels without winner
        painted = torch.bincount(winner.flatten() + 1, minlength=len(labels) + 1)[1:].tolist()
        segments: list[Segment] = []
        stuff: dict[int, int] = {}
        for i, label in enumerate(labels):
            won, area = areas[i]
            if not painted[i] or (self.spec.keep > 0 and (not area or won / area < self.spec.keep)):
                continue
            number = stuff.get(label, len(segments) + 1)
            if number > len(segments):
                segments.append(Segment(number, label, label in things))
            if label not in things:
                stuff[label] = number
            numbers[i] = number
        return Panoptic(numbers.to(winner.device)[winner], segments)


def pixel_winners(
    found: Candidates, frame: Frame, by_class: bool, min_area: int = 0
) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
    """The candidate with the largest value at each pixel.

    Args:
        by_class: the value is class probability * mask, not the mask alone.
        min_area: candidates that win at most so many pixels leave, worst first all at once, until none does.

    Returns:
        [H, W] int64, -1 where all masks are 0 or there is no candidate; [H, W], the winner's mask there; for
        each candidate the pixels won and the pixels of its mask (above 0.5).
    """
    masks = found.whole(frame)
    weights = found.scores if by_class else torch.ones_like(found.scores)
    active = torch.ones_like(found.scores, dtype=torch.bool)
    winner = torch.full(frame.output_size, -1, dtype=torch.int64, device=masks.device)
    won = torch.zeros(len(masks), dtype=torch.int64, device=masks.device)
    while bool(active.any()):
        rows = active.nonzero()[:, 0]
        value, best = (masks[rows] * weights[rows, None, None]).max(0)
        winner = rows[best].masked_fill(value <= 0, -1)
        won = torch.bincount(winner.flatten() + 1, minlength=len(masks) + 1)[1:]
        small = active & (won <= min_area)
        if not bool(small.any()) or not min_area:
            break
        active &= ~small
        winner, won = torch.full_like(winner, -1), torch.zeros_like(won)
    value = masks.gather(0, winner.clamp(min=0)[None])[0] if len(masks) else torch.zeros_like(winner).float()
    areas = (masks > 0.5).sum((1, 2))
    return winner, value, list(zip(won.tolist(), areas.tolist(), strict=True))

"""The heuristic procedure: instances first, stuff in what they leave (Kirillov et al. 2019, baselines).

Panoptic SegFormer compares its mask-wise merging with it (appendix B.1, Table B.2): things always win over
stuff, and stuff among itself is a pixel-wise argmax.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.inference.base import Frame, Inference, InferenceSpec, Panoptic, Segment, Task
from models.inference.candidates import Candidates, candidates
from models.inference.mask_wise import mask_wise_merging
from models.inference.pixel_argmax import pixel_winners


@dataclass(frozen=True, kw_only=True)
class HeuristicSpec(InferenceSpec):
    """The defaults are those of panopticapi's script of the procedure (0.5, 0.5, 64 * 64)."""

    part: ClassVar[str] = "heuristic"
    least: ClassVar[dict[str, int]] = {"stuff_area": 0}

    confidence: float = 0.5
    """Things below this class probability are dropped."""
    keep: float = 0.5
    """Smallest fraction of a thing's mask that no more confident thing has taken."""
    threshold: float = 0.5
    """A pixel belongs to a thing's mask above this."""
    stuff_area: int = 4096
    """Stuff with fewer pixels left, at the result's size, is dropped."""
    stuff_confidence: float = 0.25
    """Stuff up to this class probability takes no part in the argmax (ours: a segmentation network's has no
    such threshold, but gives a class to each pixel)."""
    by_class: bool = True
    """The argmax of stuff is over class probability * mask, not the mask alone."""

    def build(self) -> Heuristic:
        return Heuristic(self)


class Heuristic(Inference):
    """For the same outputs as mask-wise merging."""

    tasks: tuple[Task, ...] = ("panoptic",)

    def __init__(self, spec: HeuristicSpec) -> None:
        self.spec = spec

    def panoptic(self, output: Any, frame: Frame, things: Collection[int]) -> list[Panoptic]:
        """One map for each image: things by confidence, then stuff by class."""
        classes = frozenset(things)
        maps = []
        for found in candidates(output):
            is_thing = torch.isin(
                found.labels, torch.tensor(sorted(classes), dtype=torch.int64, device=found.labels.device)
            )
            first = self._things(found.take(is_thing & (found.scores >= self.spec.confidence)), frame)
            kept = ~is_thing & (found.scores > self.spec.stuff_confidence)
            maps.append(self._add_stuff(first, found.take(kept), frame))
        return maps

    def _things(self, found: Candidates, frame: Frame) -> Panoptic:
        masks = found.whole(frame) > self.spec.threshold
        classes = set(found.labels.tolist())
        return mask_wise_merging(found.scores, found.labels, masks, classes, (self.spec.keep, self.spec.keep))

    def _add_stuff(self, first: Panoptic, found: Candidates, frame: Frame) -> Panoptic:
        winner, _, _ = pixel_winners(found, frame, self.spec.by_class)
        stuff: Tensor = torch.cat([found.labels, found.labels.new_tensor([-1])])[winner]
        stuff = stuff.masked_fill(first.ids > 0, -1)
        ids, segments = first.ids.clone(), list(first.segments)
        for label in sorted(set(found.labels.tolist())):
            region = stuff == label
            area = int(region.count_nonzero())
            if area and area >= self.spec.stuff_area:
                segments.append(Segment(len(segments) + 1, label, False))
                ids.masked_fill_(region, segments[-1].id)
        return Panoptic(ids, segments)

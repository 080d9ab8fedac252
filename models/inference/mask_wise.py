"""Mask-wise merging (Panoptic SegFormer, section 3.5, algorithm 1 and equation 6)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from models.inference.base import Frame, Inference, InferenceSpec, Instances, Panoptic, Segment, Task
from models.inference.candidates import Candidates, candidates

Average = Literal["area_plus_one", "mean"]


@dataclass(frozen=True, kw_only=True)
class MaskWiseSpec(InferenceSpec):
    """Thresholds and weights; the defaults are the released configuration's for ResNets.

    The released configurations of Swin-L and PVTv2-B5 have both confidences at 0.3. The paper keeps things
    and stuff by the same 0.6 (appendix A.1) and averages over the pixels of the mask (equation 6).
    """

    part: ClassVar[str] = "mask_wise"
    least: ClassVar[dict[str, int]] = {"top": 1}

    alpha: float = 1.0
    """Power of the class probability."""
    beta: float = 2.0
    """Power of the mask's quality."""
    confidence_things: float = 0.25
    """t_cnf: things with a lower confidence are dropped."""
    confidence_stuff: float = 0.25
    keep_things: float = 0.6
    """t_keep: smallest fraction of a thing's mask that no better mask has taken."""
    keep_stuff: float = 0.8
    average: Average = "area_plus_one"
    """What the mask's values are averaged over: the released area + 1, or the paper's "mean"."""
    threshold: float = 0.5
    """A pixel belongs to a mask above this."""
    top: int = 100
    """Instances given for an image, the best after rescoring."""

    def build(self) -> MaskWise:
        return MaskWise(self)


class MaskWise(Inference):
    """For Panoptic SegFormer, and for every system that gives classes and masks of queries (Table 7)."""

    tasks: tuple[Task, ...] = ("panoptic", "instance", "semantic")

    def __init__(self, spec: MaskWiseSpec) -> None:
        self.spec = spec

    def panoptic(self, output: Any, frame: Frame, things: Collection[int]) -> list[Panoptic]:
        """One map for each image. Segments of the same stuff class are one."""
        things, spec = frozenset(things), self.spec
        keep = (spec.keep_things, spec.keep_stuff)
        maps = []
        for found in candidates(output):
            least = _by_kind(found.labels, things, spec.confidence_things, spec.confidence_stuff)
            found, least = self._hopeful(found, least)
            scores, masks = self._rescored(found, frame)
            kept = scores >= least
            maps.append(mask_wise_merging(scores[kept], found.labels[kept], masks[kept], things, keep))
        return maps

    def instances(
        self, output: Any, frame: Frame, things: Collection[int] | None = None
    ) -> list[Instances]:
        """The best masks for each image, best first; of Panoptic SegFormer's thing queries only. Scores may
        exceed 1, as the released ones: its masks have no upper bound."""
        results = []
        for found in candidates(output, stuff=False):
            if things is not None:
                found = found.take(_is_one_of(found.labels, things))
            scores, masks = self._rescored(found, frame)
            best = scores.sort(descending=True, stable=True).indices[: self.spec.top]
            results.append(Instances(masks[best], found.labels[best], scores[best]))
        return results

    def semantic(self, output: Any, frame: Frame) -> Tensor:
        """Class scores [B, K, *frame.output_size]: at each pixel the largest confidence * mask of a class's
        candidates (ours: the paper has no semantic task)."""
        return torch.stack([self._semantic(found, frame) for found in candidates(output)])

    def _semantic(self, found: Candidates, frame: Frame) -> Tensor:
        scores, _ = self._rescored(found, frame)
        result = scores.new_zeros(found.num_classes, *frame.output_size)
        first = 0
        for masks in found.resized(frame):
            weighted = masks.clamp(max=1) * scores[first : first + len(masks), None, None]
            for label, values in zip(found.labels[first:].tolist(), weighted, strict=False):
                torch.maximum(result[label], values, out=result[label])
            first += len(masks)
        return result

    def _hopeful(self, found: Candidates, least: Tensor) -> tuple[Candidates, Tensor]:
        """Without those whose confidence cannot reach `least`: resizing never raises a mask's peak. Saves
        resizing most of them."""
        if self.spec.beta < 0:
            return found, least
        bound = found.scores**self.spec.alpha * found.peaks() ** self.spec.beta
        rows = bound * 1.001 >= least
        return found.take(rows), least[rows]

    def _rescored(self, found: Candidates, frame: Frame) -> tuple[Tensor, Tensor]:
        """Confidences [N] by equation 6 and binary masks [N, *frame.output_size]."""
        inside, quality = [], [found.scores[:0]]
        for masks in found.resized(frame):
            inside.append(masks > self.spec.threshold)
            quality.append(mask_quality(masks, inside[-1], self.spec.average))
        scores = found.scores**self.spec.alpha * torch.cat(quality) ** self.spec.beta
        none = torch.zeros(0, *frame.output_size, dtype=torch.bool, device=scores.device)
        return scores, torch.cat([none, *inside])


def mask_quality(masks: Tensor, inside: Tensor, average: Average = "area_plus_one") -> Tensor:
    """The average of the masks' values [N, H, W] inside them (bool [N, H, W]): [N] (equation 6)."""
    area = inside.sum((1, 2)).to(masks.dtype)
    area = area + 1 if average == "area_plus_one" else area.clamp(min=1)
    return (masks * inside).sum((1, 2)) / area


def mask_wise_merging(
    scores: Tensor, labels: Tensor, masks: Tensor, things: Collection[int], keep: tuple[float, float]
) -> Panoptic:
    """Paints masks from the best to the worst, each where nothing is yet (algorithm 1).

    Args:
        scores: [N] confidences; those below t_cnf are to be left out before.
        labels: [N] int64 classes.
        masks: [N, H, W] bool.
        things: classes whose segments stay apart; segments of the same stuff class are one.
        keep: of things and of stuff, the smallest fraction of a mask that is left to paint.
    """
    ids = torch.zeros(masks.shape[1:], dtype=torch.int32, device=masks.device)
    free = torch.ones_like(ids, dtype=torch.bool)
    areas = masks.sum((1, 2)).tolist()
    classes = labels.tolist()
    segments: list[Segment] = []
    stuff: dict[int, int] = {}
    for i in scores.sort(descending=True, stable=True).indices.tolist():
        is_thing = classes[i] in things
        left = masks[i] & free
        count = int(left.count_nonzero()) if areas[i] else 0
        if not count or count / areas[i] < keep[0 if is_thing else 1]:
            continue
        number = stuff.get(classes[i], len(segments) + 1)
        if number > len(segments):
            segments.append(Segment(number, classes[i], is_thing))
        if not is_thing:
            stuff[classes[i]] = number
        ids.masked_fill_(left, number)
        free &= ~left
    return Panoptic(ids, segments)


def _is_one_of(labels: Tensor, classes: Collection[int]) -> Tensor:
    return torch.isin(labels, torch.tensor(sorted(classes), dtype=labels.dtype, device=labels.device))


def _by_kind(labels: Tensor, things: Collection[int], of_things: float, of_stuff: float) -> Tensor:
    """[N] float: one value where the label is a thing's, another where it is not."""
    values = torch.full(labels.shape, of_stuff, dtype=torch.float32, device=labels.device)
    return values.masked_fill(_is_one_of(labels, things), of_things)

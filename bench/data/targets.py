"""From a labelled sample to what a model is trained against: one mask for each segment of its task."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.data.base import IGNORE, Objects, Sample
from bench.errors import UserError
from models.inference import Task
from models.outputs import MaskTarget


def semantic_targets(semantic: Tensor, ignore_index: int = IGNORE) -> MaskTarget:
    """One mask for each class present in semantic [H,W], in order of class id; ignored pixels are in no mask.

    So Mask2Former trains on semantic labels (released code, its semantic dataset mapper).
    """
    counts = torch.bincount(semantic.flatten().long(), minlength=ignore_index + 1)
    counts[ignore_index] = 0
    labels = counts.nonzero().flatten()
    return MaskTarget(labels=labels, masks=semantic == labels.to(semantic.dtype)[:, None, None])


@dataclass(frozen=True)
class Targets:
    """What a model for `task` is trained against; `things` are the classes whose objects are apart."""

    task: Task
    things: frozenset[int] = frozenset()
    ignore_index: int = IGNORE

    def __call__(self, sample: Sample) -> MaskTarget:
        """One mask for each class (semantic), one for each object of a thing and each stuff class (panoptic),
        one for each object of a thing (instance): objects in order of their number, then classes in order.

        Crowds are in no mask but those of semantic targets; nor are pixels of a thing that belong to no
        object, and ignored pixels. Objects without a pixel, which a crop leaves over, have no mask.
        """
        if self.task == "semantic":
            return semantic_targets(sample.semantic, self.ignore_index)
        found = self.truth(sample)
        objects = found.where(~found.crowd & found.masks.flatten(1).any(1))
        if self.task == "instance":
            return MaskTarget(labels=objects.labels, masks=objects.masks)
        others = self._is_thing(sample.semantic) | _members(sample.instances, sample.crowd)
        stuff = semantic_targets(sample.semantic.masked_fill(others, self.ignore_index))
        labels = torch.cat([objects.labels, stuff.labels])
        return MaskTarget(labels=labels, masks=torch.cat([objects.masks, stuff.masks]))

    def truth(self, sample: Sample) -> Objects:
        """The objects of things that instance segmentation is scored on: with crowds, and as `sample.objects`
        has them where it has, else from its instance labels.

        Raises UserError where the sample has neither.
        """
        if sample.objects is not None and self.task != "panoptic":
            return sample.objects.where(_members(sample.objects.labels, self.things))
        if sample.instances is None:
            raise UserError(f"{sample.name} has no instance labels; {self.task} targets need them")
        numbers = torch.where(self._is_thing(sample.semantic), sample.instances, 0)
        found, first = _first_places(numbers.flatten())
        return Objects(
            labels=sample.semantic.flatten()[first].long(),
            masks=numbers == found[:, None, None],
            crowd=_members(found, sample.crowd),
        )

    def _is_thing(self, semantic: Tensor) -> Tensor:
        table = torch.zeros(256, dtype=torch.bool)
        table[sorted(self.things)] = True
        return table[semantic.long()]


def _members(numbers: Tensor, chosen: Collection[int]) -> Tensor:
    """Which of the integers are among those chosen, bool of the same shape."""
    return torch.isin(numbers, torch.tensor(sorted(chosen), dtype=numbers.dtype))


def _first_places(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """The positive numbers that occur in [P], ascending, and where each occurs first."""
    found, places = numbers.unique(return_inverse=True)
    first = torch.full((len(found),), len(numbers)).scatter_reduce_(
        0, places, torch.arange(len(numbers)), "amin"
    )
    return found[found > 0], first[found > 0]

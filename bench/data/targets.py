"""From a labelled sample to what a model is trained against: one mask for each segment of its task."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.data.base import IGNORE, Sample
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

        Pixels of a thing that belong to no object are in no mask, nor are ignored pixels.
        """
        semantic, instances = sample.semantic, sample.instances
        if self.task == "semantic":
            return semantic_targets(semantic, self.ignore_index)
        if instances is None:
            raise UserError(f"{sample.name} has no instance labels; {self.task} targets need them")
        objects = self._objects(semantic, instances)
        if self.task == "instance":
            return objects
        stuff = semantic_targets(semantic.masked_fill(self._is_thing(semantic), self.ignore_index))
        labels = torch.cat([objects.labels, stuff.labels])
        return MaskTarget(labels=labels, masks=torch.cat([objects.masks, stuff.masks]))

    def _objects(self, semantic: Tensor, instances: Tensor) -> MaskTarget:
        numbers = torch.where(self._is_thing(semantic), instances, 0)
        found, first = _first_places(numbers.flatten())
        masks = numbers == found[:, None, None]
        return MaskTarget(labels=semantic.flatten()[first].long(), masks=masks)

    def _is_thing(self, semantic: Tensor) -> Tensor:
        table = torch.zeros(256, dtype=torch.bool)
        table[sorted(self.things)] = True
        return table[semantic.long()]


def _first_places(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """The positive numbers that occur in [P], ascending, and where each occurs first."""
    found, places = numbers.unique(return_inverse=True)
    first = torch.full((len(found),), len(numbers)).scatter_reduce_(
        0, places, torch.arange(len(numbers)), "amin"
    )
    return found[found > 0], first[found > 0]

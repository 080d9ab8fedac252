"""What a system's inference makes of predictions given by a rule: thresholds and merging show in it.

A model of fifty steps predicts nothing that passes a threshold, so its outputs keep their shapes only:
classes become spiky noise, masks smooth noise, boxes and scores uniform, from one seeded generator.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.regress.check import Numbers
from models.inference import Frame, Inference

SIZE = 96
SPIKES, SMOOTH, RARE = 6.0, 16, 1.2
"""Size of logits; pixels in which a mask changes; what its noise has to pass, one time in nine, so that some
segments keep enough of their pixels beside the others."""


@torch.no_grad()
def results(model: nn.Module, inference: Inference | None = None) -> Numbers:
    """What an inference, by default the model's own, makes of given outputs, by the tasks that it has.

    Pixels of each class (semantic), class and pixels of each segment (panoptic), label, score and pixels of
    the twenty best objects (instance).
    """
    model.eval()
    inference = inference or model.inference
    generator = torch.Generator().manual_seed(0)
    size = (SIZE, SIZE)
    images = torch.randn(1, 3, *size, generator=generator)
    output = given(model(images), generator)
    frame, classes = Frame(size, size, size), model.spec.num_classes
    things = frozenset(range(classes // 2))
    found: Numbers = {}
    if "semantic" in inference.tasks:
        labels = inference.semantic_map(output, frame)[0]
        found["semantic results"] = torch.bincount(labels.flatten(), minlength=classes).tolist()
    if "panoptic" in inference.tasks:
        panoptic = inference.panoptic(output, frame, things)[0]
        areas = torch.bincount(panoptic.ids.flatten().long()).tolist()
        kept = (segment for segment in panoptic.segments if segment.id < len(areas))
        found["panoptic results"] = [float(n) for s in kept for n in (s.label, areas[s.id])]
    if "instance" in inference.tasks:
        objects = inference.instances(output, frame, things)[0]
        best = objects.scores.argsort(descending=True, stable=True)[:20]
        rows = zip(objects.labels[best], objects.scores[best], objects.masks[best].sum((1, 2)), strict=True)
        found["instance results"] = [float(number) for row in rows for number in row]
    return found


def given(value: Any, generator: torch.Generator, name: str = "") -> Any:
    """`value` with its predictions replaced, by the names of the fields that hold them."""
    if isinstance(value, Tensor):
        return _noise(value, generator, name) if value.is_floating_point() else value
    if is_dataclass(value):
        changes = {f.name: given(getattr(value, f.name), generator, f.name) for f in fields(value) if f.init}
        return replace(value, **changes)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(given(getattr(value, part), generator, part) for part in value._fields))
    if isinstance(value, list):
        return [given(item, generator, name) for item in value]
    return value


def _noise(value: Tensor, generator: torch.Generator, name: str) -> Tensor:
    if "mask" in name:
        coarse = [-(-side // SMOOTH) + 1 for side in value.shape[-2:]]
        rough = torch.randn(*value.shape[:-2], *coarse, generator=generator).flatten(0, -3)
        smooth = F.interpolate(rough[None], size=value.shape[-2:], mode="bilinear")[0]
        return SPIKES * (smooth.view_as(value) - RARE)
    if "box" in name:
        return 0.2 + 0.6 * torch.rand(value.shape, generator=generator)
    if "scores" in name:  # of Panoptic SegFormer's selected pairs, best first
        return torch.rand(value.shape, generator=generator).sort(descending=True).values
    if "logits" in name:
        return SPIKES * torch.randn(value.shape, generator=generator)
    return value

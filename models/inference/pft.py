"""Inference of the Pyramid Fusion Transformer: semantic maps (Qin et al. 2022, eq. 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from models.inference.base import Frame, Inference, InferenceSpec, Output, Task, crop_and_resize, resize
from models.outputs import SegmentationOutput
from models.pyramid_output import PyramidOutput


@dataclass(frozen=True, kw_only=True)
class PerClassSpec(InferenceSpec):
    """p_k m_k of a model with a query for each class.

    `average`: over the scales' "logits" (the paper), or over their "predictions" p m (supplement, II-A).
    `probabilities`: "sigmoid" as in eq. 4; the supplement (II-A) speaks of a "softmax" over the classes.
    """

    part: ClassVar[str] = "per_class"
    reads: ClassVar[tuple[Output, ...]] = ("per_class",)
    average: Literal["logits", "predictions"] = "logits"
    probabilities: Literal["sigmoid", "softmax"] = "sigmoid"

    def build(self) -> PerClass:
        return PerClass(self)


class PerClass(Inference):
    """Probability times mask, class by class."""

    tasks: tuple[Task, ...] = ("semantic",)

    def __init__(self, spec: PerClassSpec) -> None:
        self.spec = spec

    def semantic(self, output: PyramidOutput, frame: Frame) -> Tensor:
        """Class scores [B, K, *frame.output_size]; their argmax over classes is the semantic map."""
        outputs = [output] if self.spec.average == "logits" else output.scales
        scores = sum(self._scores(each, frame) for each in outputs) / len(outputs)
        return crop_and_resize(scores, frame.image_size, frame.output_size)

    def _scores(self, output: SegmentationOutput, frame: Frame) -> Tensor:
        """[B, K] and [B, K, h, w] logits to scores [B, K, *padded_size]."""
        logits = output.class_logits
        classes = logits.sigmoid() if self.spec.probabilities == "sigmoid" else torch.softmax(logits, -1)
        return classes[..., None, None] * resize(output.mask_logits, frame.padded_size).sigmoid()

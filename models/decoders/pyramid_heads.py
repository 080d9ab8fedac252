"""From the queries of every scale to predictions (PFT, section III-A, eq. 4 and 5; supplement, II).

A scale has its own norm, class layer and mask MLP: with one MLP for all of them only 29 of the 33 printed
counts fit. The class layer gives one logit a query; with K of them the printed 232 M of Swin-L are missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.heads import MaskHead
from models.outputs import SegmentationOutput
from models.pyramid_output import PyramidOutput
from models.spec import Spec

Assignment = Literal["fixed", "bipartite"]
"""Which query answers for which class: always the same one, or the one that matches best."""


@dataclass(frozen=True, kw_only=True)
class PyramidHeadsSpec(Spec):
    """Base of the heads' specs. `shared_masks`: one mask MLP for all scales in place of one each."""

    assignment: ClassVar[Assignment]
    shared_masks: bool = False

    def queries(self, num_classes: int) -> int:
        """How many queries a scale has."""
        raise NotImplementedError

    def build(self, dim: int, mask_dim: int, num_classes: int, scales: int) -> PyramidHeads:
        """The heads of `scales` scales."""
        raise NotImplementedError

    def _each(self, dim: int, mask_dim: int, num_classes: int, scales: int) -> nn.ModuleList:
        heads = nn.ModuleList(MaskHead(dim, mask_dim, num_classes) for _ in range(scales))
        if self.shared_masks:
            for head in heads:
                head.mask_embedding = heads[0].mask_embedding
        return heads


class PyramidHeads(nn.Module):
    """A `MaskHead` for each scale, and how their predictions become one."""

    def __init__(self, heads: nn.ModuleList) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, queries: Sequence[Tensor], mask_features: Tensor) -> PyramidOutput:
        """Queries [B, Q, C] of each scale and mask features [B, C_m, h, w] to predictions."""
        pairs = zip(self.heads, queries, strict=True)
        return self.fuse([head(each, mask_features) for head, each in pairs])

    def fuse(self, scales: list[SegmentationOutput]) -> PyramidOutput:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class PerClassHeadsSpec(PyramidHeadsSpec):
    """A query for each class, one class logit a query; logits are averaged over the scales."""

    part: ClassVar[str] = "per_class"
    assignment: ClassVar[Assignment] = "fixed"

    def queries(self, num_classes: int) -> int:
        return num_classes

    def build(self, dim: int, mask_dim: int, num_classes: int, scales: int) -> PyramidHeads:
        return PerClassHeads(self._each(dim, mask_dim, 0, scales))  # 0 classes and one logit more


class PerClassHeads(PyramidHeads):
    """Eq. 4 and 5. The masks of each scale are computed, then averaged, as the printed FLOPs have it."""

    def fuse(self, scales: list[SegmentationOutput]) -> PyramidOutput:
        scales = [SegmentationOutput(scale.class_logits.squeeze(-1), scale.mask_logits) for scale in scales]
        classes = torch.stack([scale.class_logits for scale in scales]).mean(0)
        masks = sum(scale.mask_logits for scale in scales) / len(scales)  # a stack would hold them all twice
        return PyramidOutput(classes, masks, scales=scales)


@dataclass(frozen=True, kw_only=True)
class SetHeadsSpec(PyramidHeadsSpec):
    """Queries that are matched with the segments of each image, K + 1 logits each (supplement, II-B).

    How many there were is not said; None: as many as classes. Which query of one scale goes with which of
    another is open, so the predictions of the scales are put side by side: the semantic map of them all (sum
    over queries of p m) is the sum of those of the scales, the paper's "prediction average".
    """

    part: ClassVar[str] = "set"
    assignment: ClassVar[Assignment] = "bipartite"
    least: ClassVar[dict[str, int]] = {"num_queries": 1}
    num_queries: int | None = None

    def queries(self, num_classes: int) -> int:
        return self.num_queries or num_classes

    def build(self, dim: int, mask_dim: int, num_classes: int, scales: int) -> PyramidHeads:
        return SetHeads(self._each(dim, mask_dim, num_classes, scales))


class SetHeads(PyramidHeads):
    """The queries of all scales as one set."""

    def fuse(self, scales: list[SegmentationOutput]) -> PyramidOutput:
        classes = torch.cat([scale.class_logits for scale in scales], dim=1)
        masks = torch.cat([scale.mask_logits for scale in scales], dim=1)
        return PyramidOutput(classes, masks, scales=scales)

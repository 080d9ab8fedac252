"""A segmentation model of a few thousand weights with the interface of the real ones."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import nn

from models.inference import InferenceSpec, MaskClassificationSpec
from models.losses import MaskLossSpec
from models.outputs import SegmentationOutput
from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class TinySpec(Spec):
    part: ClassVar[str] = "tiny"
    dim: int = 16
    num_queries: int = 8
    num_classes: int = 4
    dropout: float = 0.1
    loss: MaskLossSpec = field(default_factory=lambda: MaskLossSpec(points=64))
    inference: InferenceSpec = field(default_factory=MaskClassificationSpec)

    def build(self, device="cpu"):
        return Tiny(self).to(device)


class Tiny(nn.Module):
    """Pixels and queries are matched by a product, as in every mask classifier; batch norm and dropout give
    it buffers and a use of random numbers, which a resumed run must restore."""

    size_divisor = 4

    def __init__(self, spec):
        super().__init__()
        self.spec, self.inference = spec, spec.inference.build()
        dim = spec.dim
        self.backbone = nn.Sequential(
            nn.Conv2d(3, dim, 4, 4), nn.BatchNorm2d(dim), nn.ReLU(), nn.Conv2d(dim, dim, 3, 1, 1), nn.ReLU()
        )
        self.dropout = nn.Dropout(spec.dropout)
        self.query_feat = nn.Embedding(spec.num_queries, dim)
        self.classify = nn.Linear(dim, spec.num_classes + 1)
        self.mask = nn.Linear(dim, dim)

    def forward(self, images):
        pixels = self.dropout(self.backbone(images))
        queries = self.query_feat.weight.expand(len(images), -1, -1)
        first = self.predict(queries, pixels)
        weights = first.mask_logits.sigmoid().flatten(2)
        pooled = torch.einsum("bqn,bcn->bqc", weights, pixels.flatten(2)) / weights.sum(-1, keepdim=True)
        last = self.predict(queries + pooled, pixels)
        last.auxiliary = [first]
        return last

    def predict(self, queries, pixels):
        masks = torch.einsum("bqc,bchw->bqhw", self.mask(queries), pixels)
        return SegmentationOutput(self.classify(queries), masks)

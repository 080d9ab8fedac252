"""The location decoder of Panoptic SegFormer (section 3.3.2): the decoder of Deformable DETR (section 4).

Queries look at the encoded levels around reference points; every layer predicts a class and a box for each
query, and with refinement its box is where the next layer looks (Deformable DETR, appendix A.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.deformable import MSDeformAttention, Pyramid
from models.heads import MLP
from models.layers import FeedForward, SelfAttention
from models.panoptic_output import Location
from models.precision import full_precision
from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class LocationDecoderSpec(Spec):
    """`layers` decoder layers over `num_queries` learned queries; with 0 layers queries stay as learned.

    `predicts`: boxes, or centres alone, which stand for the masks' centres of mass (the box-free model of
    section 3.3.2, Table 6). `refine`: each layer looks where the one before it found the object, and has
    heads of its own; else all look around the first reference points and share one head (Deformable DETR's
    plain form).
    """

    part: ClassVar[str] = "location"
    least: ClassVar[dict[str, int]] = {
        "layers": 0, "num_queries": 1, "heads": 1, "points": 1, "ffn_dim": 1,
    }  # fmt: skip
    layers: int = 6
    num_queries: int = 300
    heads: int = 8
    points: int = 4
    ffn_dim: int = 1024
    dropout: float = 0.1
    predicts: Literal["boxes", "centres"] = "boxes"
    refine: bool = True

    @property
    def outputs(self) -> int:
        """Numbers that a box head gives: (x, y, width, height), or (x, y)."""
        return 4 if self.predicts == "boxes" else 2

    def build(self, dim: int, levels: int, num_classes: int) -> LocationDecoder:
        """The decoder of `dim` channels over `levels` feature levels."""
        return LocationDecoder(self, dim, levels, num_classes)


class Located(NamedTuple):
    """What the location decoder gives.

    Attributes:
        predictions: of each layer, earliest first.
        queries: [B, Q, C] after the last layer.
        references: [B, Q, 2 or 4], the points or boxes that the last layer started from, in [0, 1].
    """

    predictions: list[Location]
    queries: Tensor
    references: Tensor


class LocationLayer(nn.Module):
    """Self-attention of the queries, deformable attention to the levels, feed-forward network; post-norm."""

    def __init__(self, spec: LocationDecoderSpec, dim: int, levels: int) -> None:
        super().__init__()
        self.self_attention = SelfAttention(dim, spec.heads, spec.dropout)
        self.cross = MSDeformAttention(dim, levels, spec.heads, spec.points)
        self.norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, spec.ffn_dim, spec.dropout)
        self.dropout = spec.dropout

    def forward(
        self, x: Tensor, positions: Tensor, memory: Tensor, pyramid: Pyramid, references: Tensor
    ) -> Tensor:
        """Queries and their positions [B, Q, C], memory [B, S, C], references [B, Q, L or 1, 2 or 4]."""
        x = self.self_attention(x, positions)
        attended = self.cross(x + positions, memory, pyramid, references)
        return self.feed_forward(self.norm(x + F.dropout(attended, self.dropout, self.training)))


class LocationDecoder(nn.Module):
    """Learned queries to a class and a box of each, layer by layer."""

    def __init__(self, spec: LocationDecoderSpec, dim: int, levels: int, num_classes: int) -> None:
        super().__init__()
        self.dim, self.refine = dim, spec.refine
        self.queries = nn.Embedding(spec.num_queries, 2 * dim)  # positions, then content
        self.reference = nn.Linear(dim, 2)
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)
        self.layers = nn.ModuleList(LocationLayer(spec, dim, levels) for _ in range(spec.layers))
        heads = spec.layers if spec.refine else min(spec.layers, 1)
        self.class_heads = nn.ModuleList(class_head(dim, num_classes) for _ in range(heads))
        self.box_heads = nn.ModuleList(box_head(dim, spec.outputs) for _ in range(heads))
        if heads:
            with torch.no_grad():
                self.box_heads[0].layers[-1].bias[2:].fill_(-2.0)  # type: ignore[index]

    def forward(self, memory: Tensor, pyramid: Pyramid) -> Located:
        """Locate objects in the encoded levels.

        Args:
            memory: [B, S, C], the levels' pixels one level after the other.
            pyramid: their sizes and padding.
        """
        places, x = self.queries.weight.expand(len(memory), -1, -1).split(self.dim, dim=-1)
        references = full_precision(self.reference(places)).sigmoid()
        predictions: list[Location] = []
        for i, layer in enumerate(self.layers):
            if i and self.refine:
                references = predictions[-1].boxes.detach()
            x = layer(x, places, memory, pyramid, pyramid.place(references))
            head = i if self.refine else 0
            boxes = boxes_around(self.box_heads[head](x), references)
            predictions.append(Location(self.class_heads[head](x), boxes))
        return Located(predictions, x, references)


def class_head(dim: int, num_classes: int) -> nn.Linear:
    """A linear classifier whose sigmoid scores are 0.01 at first (focal loss, section 3.3)."""
    head = nn.Linear(dim, num_classes)
    nn.init.constant_(head.bias, -math.log(99))
    return head


def box_head(dim: int, outputs: int) -> MLP:
    """dim -> dim -> dim -> outputs with ReLU, 0 at first."""
    head = MLP(dim, dim, outputs, 3)
    nn.init.zeros_(head.layers[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(head.layers[-1].bias)  # type: ignore[arg-type]
    return head


def boxes_around(offsets: Tensor, references: Tensor) -> Tensor:
    """Offsets [..., n] added to the logits of references [..., 2 or 4] in [0, 1]; a point (x, y) has no size
    to add to. Gives boxes or points [..., n] in [0, 1]."""
    offsets, logits = full_precision(offsets), inverse_sigmoid(references)
    return (offsets + F.pad(logits, (0, offsets.shape[-1] - logits.shape[-1]))).sigmoid()


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """log(x / (1 - x)), with x and 1 - x no smaller than `eps`."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))

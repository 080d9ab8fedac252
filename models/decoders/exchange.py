"""What the scales of the Pyramid Fusion Transformer tell each other, between self- and cross-attention.

PFT section III-A, eq. 2, and table VII. `None` in place of a part: nothing ("w/o IQA").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.attention.base import Level
from models.layers import FeedForward, SelfAttention
from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """What all layers of a decoder have in common; arguments of `models.layers`."""

    dim: int
    heads: int
    dropout: float
    pre_norm: bool

    def feed_forward(self, hidden: int) -> nn.Module:
        """A feed-forward network with residual and norm; nothing at all if `hidden` is 0."""
        if not hidden:
            return nn.Identity()
        return FeedForward(self.dim, hidden, self.dropout, pre_norm=self.pre_norm)

    def self_attention(self) -> SelfAttention:
        return SelfAttention(self.dim, self.heads, self.dropout, self.pre_norm)


class Exchange(nn.Module):
    """Base: changes the queries, the pixels, or both."""

    def forward(
        self, queries: Sequence[Tensor], places: Sequence[Tensor], levels: Sequence[Level]
    ) -> tuple[list[Tensor], list[Level]]:
        """One exchange.

        Args:
            queries: [B, Q, C] of each scale.
            places: their positional encodings [B, Q, C].
            levels: the pixels of each scale.

        Returns:
            Queries and levels of the same shapes.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ExchangeSpec(Spec):
    """Base of the exchanges' specs."""

    def build(self, shape: LayerShape, layer: int, ffn_dim: int) -> Exchange | None:
        """The exchange of decoder layer `layer` (from 0), or None if that layer has none.

        `ffn_dim` is the width of the feed-forward network that follows attention among queries, 0 for none.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class InterQuerySpec(ExchangeSpec):
    """Cross-scale inter-query attention (IQA), the paper's own."""

    part: ClassVar[str] = "inter_query"

    def build(self, shape: LayerShape, layer: int, ffn_dim: int) -> Exchange:
        return InterQueryAttention(shape, ffn_dim)


class InterQueryAttention(Exchange):
    """Self-attention among the queries of all scales; their positions tell the scales apart (eq. 2)."""

    def __init__(self, shape: LayerShape, ffn_dim: int) -> None:
        super().__init__()
        self.attention = shape.self_attention()
        self.feed_forward = shape.feed_forward(ffn_dim)

    def forward(
        self, queries: Sequence[Tensor], places: Sequence[Tensor], levels: Sequence[Level]
    ) -> tuple[list[Tensor], list[Level]]:
        together = self.attention(torch.cat(list(queries), dim=1), torch.cat(list(places), dim=1))
        together = self.feed_forward(together)
        return list(together.split([q.shape[1] for q in queries], dim=1)), list(levels)


@dataclass(frozen=True, kw_only=True)
class PixelAttentionSpec(ExchangeSpec):
    """Self-attention among the pixels of all scales in place of IQA, in every `every`-th layer (table VII).

    The paper says "at every other transformer layer": here the first, third and fifth. That each has a
    feed-forward network of 2048, and that the others exchange nothing, follows from the printed FLOPs: full
    attention among 5376 tokens is 48.6 G in three layers, the networks 16.9 G, together the printed 65.5 G.
    The pixels keep their sinusoidal positions, which do not tell scales apart.
    """

    part: ClassVar[str] = "pixel_attention"
    least: ClassVar[dict[str, int]] = {"every": 1, "ffn_dim": 0}
    every: int = 2
    ffn_dim: int = 2048

    def build(self, shape: LayerShape, layer: int, ffn_dim: int) -> Exchange | None:
        return None if layer % self.every else PixelAttention(shape, self.ffn_dim)


class PixelAttention(Exchange):
    """Changes the pixels for this layer's cross-attention and all later ones."""

    def __init__(self, shape: LayerShape, ffn_dim: int) -> None:
        super().__init__()
        self.attention = shape.self_attention()
        self.feed_forward = shape.feed_forward(ffn_dim)

    def forward(
        self, queries: Sequence[Tensor], places: Sequence[Tensor], levels: Sequence[Level]
    ) -> tuple[list[Tensor], list[Level]]:
        tokens = torch.cat([level.tokens for level in levels], dim=1)
        positions = torch.cat([level.positions for level in levels], dim=1)
        tokens = self.feed_forward(self.attention(tokens, positions))
        parts = tokens.split([level.tokens.shape[1] for level in levels], dim=1)
        changed = [replace(level, tokens=part) for level, part in zip(levels, parts, strict=True)]
        return list(queries), changed

"""DETR's transformer (Carion et al. 2020, section 3.2 and figure 10), which MaskFormer decodes with too.

All layers are post-norm. Positions are added to queries and keys of every attention, never to values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.attention.memory import MemoryAttention
from models.layers import FeedForward, SelfAttention
from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class TransformerEncoderSpec(Spec):
    """`layers` of self-attention among pixels; the defaults are DETR's."""

    part: ClassVar[str] = "transformer_encoder"
    least: ClassVar[dict[str, int]] = {"layers": 0, "heads": 1, "ffn_dim": 1}
    layers: int = 6
    heads: int = 8
    ffn_dim: int = 2048
    dropout: float = 0.1

    def build(self, dim: int) -> TransformerEncoder:
        """The encoder for tokens of `dim` channels."""
        return TransformerEncoder(self, dim)


@dataclass(frozen=True, kw_only=True)
class TransformerDecoderSpec(Spec):
    """`layers` that turn `num_queries` learned positions into embeddings; the defaults are DETR's."""

    part: ClassVar[str] = "transformer_decoder"
    least: ClassVar[dict[str, int]] = {"dim": 1, "layers": 1, "heads": 1, "ffn_dim": 1, "num_queries": 1}
    dim: int = 256
    layers: int = 6
    heads: int = 8
    ffn_dim: int = 2048
    num_queries: int = 100
    dropout: float = 0.1

    def build(self) -> TransformerDecoder:
        """The decoder; its memory has `dim` channels."""
        return TransformerDecoder(self)


class EncoderLayer(nn.Module):
    """Self-attention, feed-forward network."""

    def __init__(self, spec: TransformerEncoderSpec, dim: int) -> None:
        super().__init__()
        self.self_attention = SelfAttention(dim, spec.heads, spec.dropout)
        self.feed_forward = FeedForward(dim, spec.ffn_dim, spec.dropout)

    def forward(self, x: Tensor, positions: Tensor, forbidden: Tensor | None = None) -> Tensor:
        return self.feed_forward(self.self_attention(x, positions, forbidden))


class DecoderLayer(nn.Module):
    """Self-attention among the queries, cross-attention to the memory, feed-forward network."""

    def __init__(self, spec: TransformerDecoderSpec) -> None:
        super().__init__()
        self.self_attention = SelfAttention(spec.dim, spec.heads, spec.dropout)
        self.cross = MemoryAttention(spec.dim, spec.heads, spec.dropout)
        self.feed_forward = FeedForward(spec.dim, spec.ffn_dim, spec.dropout)

    def forward(
        self,
        x: Tensor,
        query_positions: Tensor,
        memory: Tensor,
        positions: Tensor,
        forbidden: Tensor | None = None,
    ) -> Tensor:
        x = self.self_attention(x, query_positions)
        return self.feed_forward(self.cross(x, query_positions, memory, positions, forbidden))


class TransformerEncoder(nn.Module):
    """The layers; no norm follows the last one."""

    def __init__(self, spec: TransformerEncoderSpec, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(spec, dim) for _ in range(spec.layers))

    def forward(self, x: Tensor, positions: Tensor, padding: Tensor | None = None) -> Tensor:
        """Encodes pixels.

        Args:
            x: [B, N, C].
            positions: [B or 1, N, C].
            padding: [B, N] bool, True at tokens that lie outside the image; not all of an image.

        Returns:
            [B, N, C].
        """
        forbidden = None if padding is None else padding[:, None]
        for layer in self.layers:
            x = layer(x, positions, forbidden)
        return x


class TransformerDecoder(nn.Module):
    """Learned query positions, the layers, and the norm that every layer's output goes through."""

    def __init__(self, spec: TransformerDecoderSpec) -> None:
        super().__init__()
        self.query_positions = nn.Embedding(spec.num_queries, spec.dim)
        self.layers = nn.ModuleList(DecoderLayer(spec) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.dim)

    def forward(self, memory: Tensor, positions: Tensor, padding: Tensor | None = None) -> list[Tensor]:
        """The normalised queries after each layer, the last of them last; they start at zero.

        Args:
            memory: [B, N, C].
            positions: [B or 1, N, C].
            padding: [B, N] bool, True at tokens that lie outside the image; not all of an image.

        Returns:
            [B, Q, C] a layer.
        """
        forbidden = None if padding is None else padding[:, None]
        places = self.query_positions.weight.expand(len(memory), -1, -1)
        queries, outputs = torch.zeros_like(places), []
        for layer in self.layers:
            queries = layer(queries, places, memory, positions, forbidden)
            outputs.append(self.norm(queries))
        return outputs

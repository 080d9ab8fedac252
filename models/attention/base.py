"""Cross-attention of queries to one level of image features: what every policy takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from models.attention.memory import MemoryAttention
from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class CrossAttentionSpec(Spec):
    """Base of the cross-attention policies' specs.

    `score_stride`: the level whose earlier scores it reads, if any. `joins`: whether it can attend to several
    levels joined, which have no rows and columns.
    """

    score_stride: ClassVar[int | None] = None
    joins: ClassVar[bool] = True

    def build(self, dim: int, heads: int, dropout: float = 0.0) -> CrossAttention:
        """The policy as a module with its own weights; `dropout` falls on its scores and on what it adds."""
        raise NotImplementedError


@dataclass
class Level:
    """The image features of one level, flattened.

    Attributes:
        tokens: [B, N, C] features with the level's embedding.
        positions: [B or 1, N, C] their positional encodings K_p.
        size: (height, width), N = height * width.
        stride: of the level in the image.
        parts: the levels whose pixels it has, if it joins several; then size is (1, N), stride that of the
            first.
    """

    tokens: Tensor
    positions: Tensor
    size: tuple[int, int]
    stride: int
    parts: tuple[Level, ...] = ()

    def centres(self) -> Tensor:
        """Centres (x, y) of its pixels [N, 2], in pixels of the image."""
        if self.parts:
            return torch.cat([part.centres() for part in self.parts])
        options = {"dtype": torch.float32, "device": self.tokens.device}
        y, x = (torch.arange(length, **options) + 0.5 for length in self.size)
        grid = torch.stack((x.expand(*self.size), y[:, None].expand(*self.size)), dim=-1)
        return grid.flatten(0, 1) * self.stride

    def extent(self) -> tuple[int, int]:
        """(width, height) of the padded image, in its pixels."""
        first = self.parts[0] if self.parts else self
        return first.size[1] * first.stride, first.size[0] * first.stride


def join(levels: Sequence[Level]) -> Level:
    """One level with the pixels of all, one level after the other."""
    tokens = torch.cat([level.tokens for level in levels], dim=1)
    positions = torch.cat([level.positions for level in levels], dim=1)
    return Level(tokens, positions, (1, tokens.shape[1]), levels[0].stride, tuple(levels))


@dataclass
class Attended:
    """What a cross-attention layer gives.

    Attributes:
        queries: [B, Q, C], after the residual and the norm.
        scores: [B, Q, K] softmax scores averaged over the heads, or None if they were not asked for.
        positions: [B or 1, K, C] positional encodings of the K keys that were attended to.
    """

    queries: Tensor
    scores: Tensor | None
    positions: Tensor


@dataclass
class Context:
    """What earlier layers leave for later ones.

    Attributes:
        probabilities: [B, Q, h, w] sigmoid of the last predicted masks, resized to the level at hand, for a
            policy that looks at them (`uses_mask`); before others they are left from an earlier level.
        scores: the latest cross-attention scores of each stride, [B, Q, N], where they were kept.
        sizes: (height, width) of each stride.
    """

    probabilities: Tensor | None = None
    scores: dict[int, Tensor] = field(default_factory=dict)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)


class CrossAttention(MemoryAttention):
    """A policy: which keys each query may see. Post-norm, as in Mask2Former.

    Attributes:
        uses_mask: whether `Context.probabilities` is read.
    """

    uses_mask: ClassVar[bool] = False

    def forward(  # type: ignore[override]
        self,
        queries: Tensor,
        query_positions: Tensor,
        level: Level,
        context: Context,
        need_scores: bool = False,
    ) -> Attended:
        """Queries [B, Q, C] and their positions [B, Q, C] against a level."""
        raise NotImplementedError

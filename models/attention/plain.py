"""Cross-attention as in DETR: every query sees the whole level (Mask2Former, equation 1 and Table 4c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from models.attention.base import Attended, Context, CrossAttention, CrossAttentionSpec, Level


@dataclass(frozen=True, kw_only=True)
class PlainAttentionSpec(CrossAttentionSpec):
    """No mask, no choice of pixels. At stride 4 it is the "Vanilla" of FASeg's Tables 6 and 7."""

    part: ClassVar[str] = "plain"

    def build(self, dim: int, heads: int, dropout: float = 0.0) -> CrossAttention:
        return PlainAttention(dim, heads, dropout)


class PlainAttention(CrossAttention):
    """softmax(Q K^T) V over all pixels of the level."""

    def forward(
        self,
        queries: Tensor,
        query_positions: Tensor,
        level: Level,
        context: Context,
        need_scores: bool = False,
    ) -> Attended:
        wanted = "masked" if need_scores else None
        attended, scores = self.attend(queries, query_positions, level.tokens, level.positions, scores=wanted)
        return Attended(attended, scores, level.positions)

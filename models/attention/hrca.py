"""High-resolution cross-attention, HRCA (FASeg, section 3.3, equation 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from models.attention.base import Attended, Context, CrossAttention, CrossAttentionSpec, Level
from models.attention.selection import CellSelectionSpec, Selection, SelectionSpec


@dataclass(frozen=True, kw_only=True)
class HRCASpec(CrossAttentionSpec):
    """Queries see a small set of fine pixels, chosen by the attention scores of an earlier, coarse layer.

    `score_stride` is the level whose latest scores choose; the paper and the code both have 1/32.
    """

    part: ClassVar[str] = "hrca"
    joins: ClassVar[bool] = False
    score_stride: int = 32  # type: ignore[misc]
    selection: SelectionSpec = field(default_factory=CellSelectionSpec)

    def build(self, dim: int, heads: int, dropout: float = 0.0) -> CrossAttention:
        return HighResolutionCrossAttention(dim, heads, dropout, self.selection.build(), self.score_stride)


class HighResolutionCrossAttention(CrossAttention):
    """One set of pixels an image, the same for all queries and heads; no mask.

    The coarse scores are averaged over heads and summed over queries before the choice. If it is empty (an
    image too small for a single cell), the attention adds the bias of its output projection, as in the
    released code.
    """

    def __init__(self, dim: int, heads: int, dropout: float, selection: Selection, score_stride: int) -> None:
        super().__init__(dim, heads, dropout)
        self.selection, self.score_stride = selection, score_stride

    def forward(
        self,
        queries: Tensor,
        query_positions: Tensor,
        level: Level,
        context: Context,
        need_scores: bool = False,
    ) -> Attended:
        coarse = context.scores[self.score_stride].detach().sum(dim=1)
        chosen = self.selection(coarse, context.sizes[self.score_stride], level.size)
        tokens = gather_tokens(level.tokens, chosen)
        positions = gather_tokens(level.positions.expand_as(level.tokens), chosen)
        wanted = "masked" if need_scores else None
        attended, scores = self.attend(queries, query_positions, tokens, positions, scores=wanted)
        return Attended(attended, scores, positions)


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """tokens [B, N, C] at index [B, K] -> [B, K, C]."""
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2]))

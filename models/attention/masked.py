"""Masked attention (Mask2Former, section 3.2.1, equations 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from models.attention.base import Attended, Context, CrossAttention, CrossAttentionSpec, Level


@dataclass(frozen=True, kw_only=True)
class MaskedAttentionSpec(CrossAttentionSpec):
    """Each query sees only where its own mask, predicted by the layer before, is at least `threshold`.

    Mask2Former has 0.5; FASeg's code relaxes it to 0.15, its text does not mention it. `scores` says whether
    the scores handed on (to DFPQ and HRCA) are those after masking, as in FASeg's code, or a softmax without
    the mask.
    """

    part: ClassVar[str] = "masked"
    threshold: float = 0.5
    scores: Literal["masked", "unmasked"] = "masked"

    def build(self, dim: int, heads: int) -> CrossAttention:
        return MaskedAttention(dim, heads, self.threshold, self.scores)


class MaskedAttention(CrossAttention):
    """A query whose mask is empty at this level sees everything; the paper does not mention that rule."""

    uses_mask = True

    def __init__(self, dim: int, heads: int, threshold: float, scores: Literal["masked", "unmasked"]) -> None:
        super().__init__(dim, heads)
        self.threshold, self.scores = threshold, scores

    def forward(
        self,
        queries: Tensor,
        query_positions: Tensor,
        level: Level,
        context: Context,
        need_scores: bool = False,
    ) -> Attended:
        if context.probabilities is None:
            raise ValueError("masked attention needs the masks predicted before")
        forbidden = (context.probabilities.detach() < self.threshold).flatten(2)
        forbidden = forbidden & ~forbidden.all(dim=-1, keepdim=True)
        output, scores = self.attention(
            queries + query_positions,
            level.tokens + level.positions,
            level.tokens,
            forbidden,
            self.scores if need_scores else None,
        )
        return Attended(self.norm(queries + output), scores, level.positions)

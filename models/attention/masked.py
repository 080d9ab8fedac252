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

    def build(self, dim: int, heads: int, dropout: float = 0.0) -> CrossAttention:
        return MaskedAttention(dim, heads, dropout, self.threshold, self.scores)


class MaskedAttention(CrossAttention):
    """A query whose mask is empty at this level sees everything; the paper does not mention that rule."""

    uses_mask = True

    def __init__(
        self, dim: int, heads: int, dropout: float, threshold: float, scores: Literal["masked", "unmasked"]
    ) -> None:
        super().__init__(dim, heads, dropout)
        self.threshold, self.scores = threshold, scores

    def forward(
        self,
        queries: Tensor,
        query_positions: Tensor,
        level: Level,
        context: Context,
        need_scores: bool = False,
    ) -> Attended:
        forbidden = forbidden_pixels(context, self.threshold)
        wanted = self.scores if need_scores else None
        attended, scores = self.attend(
            queries, query_positions, level.tokens, level.positions, forbidden, wanted
        )
        return Attended(attended, scores, level.positions)


def forbidden_pixels(context: Context, threshold: float) -> Tensor:
    """[B, Q, N], True where a query's predicted mask stays below `threshold`; nowhere if it does everywhere.

    Raises:
        ValueError: there are no predicted masks.
    """
    if context.probabilities is None:
        raise ValueError("masked attention needs the masks predicted before")
    forbidden = (context.probabilities.detach() < threshold).flatten(2)
    return forbidden & ~forbidden.all(dim=-1, keepdim=True)

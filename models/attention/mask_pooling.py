"""Mask pooling in place of cross-attention (K-Net; Mask2Former, Table 4c): the mean of the masked pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.attention.base import Attended, Context, CrossAttention, CrossAttentionSpec, Level
from models.attention.masked import forbidden_pixels


@dataclass(frozen=True, kw_only=True)
class MaskPoolingSpec(CrossAttentionSpec):
    """The "mask pooling operation that averages features within mask regions" (Mask2Former, section 4.4).

    It has neither keys nor positions. The mean passes through one linear layer; K-Net's gated update of its
    kernels is not part of the row: the printed 217 GFLOPs are those of the mean.
    """

    part: ClassVar[str] = "mask_pooling"
    threshold: float = 0.5

    def build(self, dim: int, heads: int, dropout: float = 0.0) -> CrossAttention:
        return MaskPooling(dim, heads, dropout, self.threshold)


class MaskPooling(CrossAttention):
    """A query whose mask is empty at this level averages everything, as in masked attention."""

    uses_mask = True

    def __init__(self, dim: int, heads: int, dropout: float, threshold: float) -> None:
        super().__init__(dim, heads, dropout)
        self.threshold = threshold

    def attend_with(self, dim: int, heads: int, dropout: float) -> nn.Module:
        projection = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(projection.weight)
        nn.init.zeros_(projection.bias)
        return projection

    def forward(
        self,
        queries: Tensor,
        query_positions: Tensor,
        level: Level,
        context: Context,
        need_scores: bool = False,
    ) -> Attended:
        region = (~forbidden_pixels(context, self.threshold)).to(level.tokens.dtype)
        weights = region / region.sum(dim=-1, keepdim=True)
        pooled = self.attention(torch.bmm(weights, level.tokens))
        return Attended(self.residual(queries, pooled), weights if need_scores else None, level.positions)

"""Row-column decoupled attention, RCDA (Anchor DETR, Wang et al. 2022, section 3.4), of FASeg's Table 6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.base import Attended, Context, CrossAttention, CrossAttentionSpec, Level
from models.spec import SpecError


@dataclass(frozen=True, kw_only=True)
class RCDASpec(CrossAttentionSpec):
    """Attention to columns times attention to rows.

    `values`: of all pixels, the "map" (Anchor DETR), or "pooled" like the keys, one for each column and each
    row, whose two results are added. FASeg calls its row RCDA and prints the FLOPs of HRCA, which only the
    pooled form has.
    """

    part: ClassVar[str] = "rcda"
    joins: ClassVar[bool] = False
    values: Literal["map", "pooled"] = "map"

    def build(self, dim: int, heads: int, dropout: float = 0.0) -> CrossAttention:
        return RowColumnCrossAttention(dim, heads, dropout, self.values)


class RowColumnAttention(nn.Module):
    """A_x = softmax(Q_x K_x^T), A_y = softmax(Q_y K_y^T); output sum over y of A_y sum over x of A_x V.

    Keys of a column are means over its rows and the reverse; they are averaged before they are projected,
    which gives the same and costs less than the authors' order. Queries have one projection for each axis.
    """

    def __init__(
        self, dim: int, heads: int, dropout: float = 0.0, values: Literal["map", "pooled"] = "map"
    ) -> None:
        super().__init__()
        if dim % heads:
            raise SpecError(f"attention: {dim} channels cannot be split among {heads} heads")
        self.heads, self.dropout, self.values = heads, dropout, values
        self.query_x, self.query_y = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.key_x, self.key_y = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value, self.out_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        for projection in self.children():
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query [B, Q, C], key and value [B, H, W, C] to [B, Q, C], A_x [B, heads, Q, W] and A_y
        [B, heads, Q, H]."""
        across = self._weights(self.query_x(query), self.key_x(key.mean(dim=1)))
        down = self._weights(self.query_y(query), self.key_y(key.mean(dim=2)))
        x, y = (F.dropout(weights, self.dropout, self.training) for weights in (across, down))
        if self.values == "pooled":
            output = x @ self._heads(self.value(value.mean(dim=1)))
            output = output + y @ self._heads(self.value(value.mean(dim=2)))
        else:
            pixels = self.value(value).unflatten(-1, (self.heads, -1)).permute(0, 3, 1, 2, 4)
            rows = x[:, :, None] @ pixels  # [B, heads, H, Q, D]
            output = (y[..., None, :] @ rows.transpose(2, 3)).squeeze(-2)
        return self.out_proj(output.transpose(1, 2).flatten(2)), across, down

    def _weights(self, query: Tensor, key: Tensor) -> Tensor:
        """[B, Q, C] and [B, N, C] to softmax scores [B, heads, Q, N]."""
        q, k = self._heads(query), self._heads(key)
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1)

    def _heads(self, x: Tensor) -> Tensor:
        """[B, N, C] to [B, heads, N, D]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class RowColumnCrossAttention(CrossAttention):
    """Rows and columns of one level; the query's position serves both axes."""

    def __init__(self, dim: int, heads: int, dropout: float, values: Literal["map", "pooled"]) -> None:
        super().__init__(dim, heads, dropout)
        self.attention.values = values

    def attend_with(self, dim: int, heads: int, dropout: float) -> nn.Module:
        return RowColumnAttention(dim, heads, dropout)

    def forward(
        self,
        queries: Tensor,
        query_positions: Tensor,
        level: Level,
        context: Context,
        need_scores: bool = False,
    ) -> Attended:
        if level.parts:
            raise ValueError("row-column attention needs one level with rows and columns, not several joined")
        key = (level.tokens + level.positions).unflatten(1, level.size)
        value = level.tokens.unflatten(1, level.size)
        output, across, down = self.attention(queries + query_positions, key, value)
        scores = None
        if need_scores:
            scores = torch.einsum("bmqh,bmqw->bmqhw", down, across).mean(dim=1).flatten(2)
        return Attended(self.residual(queries, output), scores, level.positions)

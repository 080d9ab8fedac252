"""Cross-attention to a whole memory, as in DETR (figure 10); policies that choose among keys build on it."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.multihead import MultiheadAttention


class MemoryAttention(nn.Module):
    """norm(x + drop(attention of the queries to a memory)), with positions on queries and keys.

    With `pre_norm` x + drop(attention of norm(x)); then what comes last normalises.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0, pre_norm: bool = False) -> None:
        super().__init__()
        self.attention = self.attend_with(dim, heads, dropout)
        self.norm = nn.LayerNorm(dim)
        self.dropout, self.pre_norm = dropout, pre_norm

    def attend_with(self, dim: int, heads: int, dropout: float) -> nn.Module:
        """What gathers from the memory: multi-head attention, unless a policy has something else."""
        return MultiheadAttention(dim, heads, dropout)

    def residual(self, x: Tensor, gathered: Tensor) -> Tensor:
        """norm(x + drop(gathered)), [B, Q, C]; with `pre_norm` the norm is left out."""
        x = x + F.dropout(gathered, self.dropout, self.training)
        return x if self.pre_norm else self.norm(x)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        memory: Tensor,
        memory_positions: Tensor,
        forbidden: Tensor | None = None,
    ) -> Tensor:
        """Queries [B, Q, C] and a memory [B, N, C], with positions [B or 1, ..., C] -> [B, Q, C];
        `forbidden` as in `MultiheadAttention`."""
        return self.attend(x, positions, memory, memory_positions, forbidden)[0]

    def attend(
        self,
        x: Tensor,
        positions: Tensor,
        memory: Tensor,
        memory_positions: Tensor,
        forbidden: Tensor | None = None,
        scores: Literal["masked", "unmasked", "logits"] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The same, and the scores [B, Q, N] that `MultiheadAttention` hands out."""
        placed = (self.norm(x) if self.pre_norm else x) + positions
        attended, handed = self.attention(placed, memory + memory_positions, memory, forbidden, scores)
        return self.residual(x, attended), handed

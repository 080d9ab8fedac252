"""The post-norm layers that all transformers here are built of (Vaswani et al. 2017; DETR, figure 10)."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.multihead import MultiheadAttention


class FeedForward(nn.Module):
    """norm(x + drop(W2 drop(activation(W1 x))))."""

    def __init__(
        self,
        dim: int,
        hidden: int,
        dropout: float = 0.0,
        activation: Callable[[Tensor], Tensor] = F.relu,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.dropout, self.activation = dropout, activation
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        hidden = F.dropout(self.activation(self.linear1(x)), self.dropout, self.training)
        return self.norm(x + F.dropout(self.linear2(hidden), self.dropout, self.training))


class SelfAttention(nn.Module):
    """norm(x + drop(attention among the tokens)), with positions [B or 1, N, C] on queries and keys."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = MultiheadAttention(dim, heads, dropout)
        self.norm = nn.LayerNorm(dim)
        self.dropout = dropout

    def forward(self, x: Tensor, positions: Tensor, forbidden: Tensor | None = None) -> Tensor:
        """[B, N, C] -> [B, N, C]; `forbidden` as in `MultiheadAttention`."""
        placed = x + positions
        attended = self.attention(placed, placed, x, forbidden)[0]
        return self.norm(x + F.dropout(attended, self.dropout, self.training))

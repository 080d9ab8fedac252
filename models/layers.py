"""The layers that all transformers here are built of (Vaswani et al. 2017; DETR, figure 10).

They are post-norm, norm(x + f(x)). With `pre_norm` they are x + f(norm(x)); then what comes last normalises.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.multihead import MultiheadAttention
from models.slices import in_slices


class FeedForward(nn.Module):
    """norm(x + drop(W2 drop(activation(W1 x))))."""

    def __init__(
        self,
        dim: int,
        hidden: int,
        dropout: float = 0.0,
        activation: Callable[[Tensor], Tensor] = F.relu,
        eps: float = 1e-5,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.dropout, self.activation, self.pre_norm = dropout, activation, pre_norm
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        return in_slices(self._forward, x.flatten(0, -2)).view(x.shape)

    def _forward(self, x: Tensor) -> Tensor:
        inner = self.norm(x) if self.pre_norm else x
        hidden = F.dropout(self.activation(self.linear1(inner)), self.dropout, self.training)
        x = x + F.dropout(self.linear2(hidden), self.dropout, self.training)
        return x if self.pre_norm else self.norm(x)


class SelfAttention(nn.Module):
    """norm(x + drop(attention among the tokens)), with positions [B or 1, N, C] on queries and keys."""

    def __init__(
        self, dim: int, heads: int, dropout: float = 0.0, pre_norm: bool = False, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.attention = MultiheadAttention(dim, heads, dropout)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.dropout, self.pre_norm = dropout, pre_norm

    def forward(
        self, x: Tensor, positions: Tensor | None = None, forbidden: Tensor | None = None
    ) -> Tensor:
        """[B, N, C] -> [B, N, C]; `forbidden` as in `MultiheadAttention`."""
        inner = self.norm(x) if self.pre_norm else x
        placed = inner if positions is None else inner + positions
        attended = self.attention(placed, placed, inner, forbidden)[0]
        x = x + F.dropout(attended, self.dropout, self.training)
        return x if self.pre_norm else self.norm(x)

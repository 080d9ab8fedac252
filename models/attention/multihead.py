"""Multi-head attention that can also hand out its scores."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.spec import SpecError


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention with projections; parameters are named and shaped as in torch.nn's.

    Without softmax scores it runs `scaled_dot_product_attention`; with them, or without keys, the explicit
    product.
    `dropout` falls on the scores in training; those handed out are without it.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise SpecError(f"attention: {dim} channels cannot be split among {heads} heads")
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        forbidden: Tensor | None = None,
        scores: Literal["masked", "unmasked", "logits"] | None = None,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attention of Q queries to N keys.

        Args:
            query: [B, Q, C]; key, value: [B, N, C].
            forbidden: [B, Q, N] bool, True where a query must not look, the same for all heads; [B, 1, N] for
                all queries alike (padding). No row may be all True.
            scores: which to return: those of the softmax with or without the mask, or what it is taken of
                (without the mask); None for none.
            bias: [B or 1, heads or 1, Q, N], added to what the softmax is taken of.

        Returns:
            [B, Q, C], and the scores averaged over the heads [B, Q, N] or None. Without keys (N = 0) the
            output is the bias of the output projection.
        """
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
        mask = None if forbidden is None else forbidden[:, None]
        mean = _mean_logits(q, k) if scores == "logits" else None
        if scores in (None, "logits") and k.shape[2]:
            allowed, dropout = _added(mask, bias, q.dtype), self.dropout if self.training else 0.0
            output = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)
        else:
            logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            logits = logits if bias is None else logits + bias
            attention = _softmax(logits, mask)
            dropped = F.dropout(attention, self.dropout, self.training)
            output = dropped.to(v.dtype) @ v
            if scores in ("masked", "unmasked"):
                mean = (attention if scores == "masked" else logits.softmax(-1)).mean(dim=1)
        return self.out_proj(output.transpose(1, 2).flatten(2)), mean


def _added(mask: Tensor | None, bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to the logits, minus infinity where a query must not look. PyTorch's attention also takes
    a mask as it is, but on the CPU it needs half as long again to turn it into this."""
    if mask is None:
        return bias
    if bias is None:
        bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return bias.masked_fill(mask, float("-inf"))


def _softmax(logits: Tensor, mask: Tensor | None) -> Tensor:
    return (logits if mask is None else logits.masked_fill(mask, float("-inf"))).softmax(-1)


def _mean_logits(q: Tensor, k: Tensor) -> Tensor:
    """[B, M, Q, D] and [B, M, N, D] to the mean over the M heads of q.k / sqrt(D), [B, Q, N]: one product of
    all channels, since sums of products add up."""
    heads, dim = q.shape[1], q.shape[3]
    return (q.transpose(1, 2).flatten(2) * (dim**-0.5 / heads)) @ k.transpose(1, 2).flatten(2).mT

"""What is replaced while memory is predicted: the authors' wordier formulations, and what needs numbers.

Our layers give the same results in less memory than the papers' code on the PyTorch of its day (1.9 or so).
A printed figure can only be compared with a prediction of the latter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import models.backbones.swin
import models.decoders.round_robin
import models.losses.mask
import models.losses.pft
import models.matching.masks
from models.attention import MultiheadAttention
from models.precision import autocast_disabled, full_precision
from models.queries.dfpq import AttentionPooling


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(D) + mask) v, every matrix of scores in memory."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if attn_mask is not None:
        logits = logits + attn_mask
    return logits.softmax(-1) @ v


def multihead_forward(
    self: MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    forbidden: Tensor | None = None,
    scores: str | None = None,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`MultiheadAttention.forward` as torch.nn.MultiheadAttention of PyTorch 1.9 did it.

    The scores of all heads are written out; a boolean mask is repeated for every head and then made a float32
    one; the mean over the heads is always taken.
    """
    weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
    q, k, v = (
        F.linear(x, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        for x, w, b in zip((query, key, value), weights, biases, strict=True)
    )
    logits = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
    plain = logits.mean(dim=1) if scores == "logits" else None
    if forbidden is not None:
        repeated = forbidden[:, None].repeat(1, self.heads, 1, 1)
        logits += torch.zeros_like(repeated, dtype=torch.float32).masked_fill_(repeated, float("-inf"))
    attention = (logits if bias is None else logits + bias).softmax(-1)
    mean = attention.sum(dim=1) / self.heads
    if self.dropout and self.training:
        attention = F.dropout(attention, self.dropout)
    output = self.out_proj((attention @ v).transpose(1, 2).flatten(2))
    return output, plain if scores == "logits" else mean if scores else None


def pooling_forward(self: AttentionPooling, scores: Tensor, positions: Tensor) -> Tensor:
    """DFPQ's weighted sum as FASeg released it: a product [B, Q, N, C], then its sum over N."""
    with autocast_disabled(scores.device.type):
        positions = full_precision(positions)
        return (scores.to(positions.dtype)[..., None] * positions[:, None]).sum(dim=2)


def fused_dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout as on CUDA, which keeps a byte an element for the backward pass; the CPU keeps a float."""
    return torch.native_dropout(x, p, True)[0] if training and p else x


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """`shrink` where there is no CPU to save time on."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def first_to_first(costs: list[Tensor], name: str, inputs: Any) -> list[tuple[Tensor, Tensor]]:
    """In place of the assignment, which needs numbers: query i gets object i."""
    sizes = [min(cost.shape) for cost in costs]
    return [
        (torch.arange(n, device=c.device), torch.arange(n, device=c.device))
        for n, c in zip(sizes, costs, strict=True)
    ]


_NEEDS_NUMBERS: tuple[tuple[Any, str, Any], ...] = (
    (models.matching.masks, "assign", first_to_first),
    (models.losses.mask, "check_targets", lambda *_: None),
    (models.losses.pft, "check_targets", lambda *_: None),
    (models.losses.pft, "_require_finite", lambda *_: None),
    (models.losses.pft, "_one_a_class", lambda target: target),
    (models.decoders.round_robin, "shrink", resize),
    (torch.nn.functional, "dropout", fused_dropout),
)


class _ExplicitProduct:
    """torch.nn.functional with another `scaled_dot_product_attention`."""

    scaled_dot_product_attention = staticmethod(explicit_attention)

    def __getattr__(self, name: str) -> Any:
        return getattr(F, name)


_AUTHORS: tuple[tuple[Any, str, Any], ...] = (
    (MultiheadAttention, "forward", multihead_forward),
    (models.backbones.swin, "F", _ExplicitProduct()),
)

FORMULATIONS: dict[str, tuple[tuple[Any, str, Any], ...]] = {
    "authors": (*_NEEDS_NUMBERS, *_AUTHORS),
    "released": (*_NEEDS_NUMBERS, *_AUTHORS, (AttentionPooling, "forward", pooling_forward)),
    "ours": _NEEDS_NUMBERS,
}
"""What is replaced, by formulation: (owner, name, replacement).

"authors": attention writes its scores out. "released": DFPQ writes its product out, too, as in FASeg's
released code; the memory that FASeg prints is too small for it. "ours": the layers of `models`.
"""


@contextmanager
def formulation(name: str) -> Iterator[None]:
    """Within, models and criteria run in a formulation of `FORMULATIONS`, and without reading numbers."""
    with ExitStack() as stack:
        for owner, attribute, replacement in FORMULATIONS[name]:
            stack.enter_context(_replaced(owner, attribute, replacement))
        yield


@contextmanager
def _replaced(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)

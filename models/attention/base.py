"""Cross-attention of queries to one level of image features: what every policy takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from models.attention.multihead import MultiheadAttention
from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class CrossAttentionSpec(Spec):
    """Base of the cross-attention policies' specs.

    `score_stride`: the level whose earlier scores it reads, if any.
    """

    score_stride: ClassVar[int | None] = None

    def build(self, dim: int, heads: int) -> CrossAttention:
        """The policy as a module with its own weights."""
        raise NotImplementedError


@dataclass
class Level:
    """The image features of one level, flattened.

    Attributes:
        tokens: [B, N, C] features with the level's embedding.
        positions: [B or 1, N, C] their positional encodings K_p.
        size: (height, width), N = height * width.
        stride: of the level in the image.
    """

    tokens: Tensor
    positions: Tensor
    size: tuple[int, int]
    stride: int


@dataclass
class Attended:
    """What a cross-attention layer gives.

    Attributes:
        queries: [B, Q, C], after the residual and the norm.
        scores: [B, Q, K] softmax scores averaged over the heads, or None if they were not asked for.
        positions: [B or 1, K, C] positional encodings of the K keys that were attended to.
    """

    queries: Tensor
    scores: Tensor | None
    positions: Tensor


@dataclass
class Context:
    """What earlier layers leave for later ones.

    Attributes:
        probabilities: [B, Q, h, w] sigmoid of the last predicted masks, resized to the level at hand, for a
            policy that looks at them (`uses_mask`); before others they are left from an earlier level.
        scores: the latest cross-attention scores of each stride, [B, Q, N], where they were kept.
        sizes: (height, width) of each stride.
    """

    probabilities: Tensor | None = None
    scores: dict[int, Tensor] = field(default_factory=dict)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)


class CrossAttention(nn.Module):
    """A policy: which keys each query may see. Post-norm, as in Mask2Former.

    Attributes:
        uses_mask: whether `Context.probabilities` is read.
    """

    uses_mask: ClassVar[bool] = False

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = MultiheadAttention(dim, heads)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        queries: Tensor,
        query_positions: Tensor,
        level: Level,
        context: Context,
        need_scores: bool = False,
    ) -> Attended:
        """Queries [B, Q, C] and their positions [B, Q, C] against a level."""
        raise NotImplementedError

"""A block of the round-robin decoder, and the spec that says what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from models.attention import Context, CrossAttentionSpec, Level, MaskedAttentionSpec
from models.attention.base import Attended
from models.layers import FeedForward, SelfAttention
from models.positions import PositionSpec
from models.queries import (
    ContentSpec,
    LearnableContentSpec,
    LearnableQueriesSpec,
    PositionalQuerySpec,
    QueryPositions,
)
from models.spec import Spec, SpecError

Place = int | tuple[int, ...]
"""What a block attends to: the level at a stride, or the joined levels at several."""


@dataclass(frozen=True, kw_only=True)
class BlocksSpec(Spec):
    """A decoder block for each entry of `schedule`: the stride of the level it attends to, or the strides of
    levels whose pixels it sees together (Mask2Former's naive multi-scale).

    `attention` is the cross-attention of all levels but those of `high_resolution_strides`, where
    `high_resolution` takes over if there is one.
    `content`: the queries before the first block. `supervise_start`: whether their own predictions are among
    the auxiliary outputs; their masks steer the first block in any case.
    `order`: cross-attention first (Mask2Former) or self-attention first (DETR). `dropout` falls on attention
    scores, on what each part adds, and inside the feed-forward network (DETR: 0.1).
    `positions`: encodings K_p of the decoder's own, computed from the pixel decoder's output; None, as in the
    released code, takes those that the pixel decoder used itself.
    """

    least: ClassVar[dict[str, int]] = {"dim": 1, "heads": 1, "ffn_dim": 1, "num_queries": 1}
    dim: int = 256
    heads: int = 8
    ffn_dim: int = 2048
    num_queries: int = 100
    schedule: tuple[int | tuple[int, ...], ...] = (32, 16, 8) * 3
    attention: CrossAttentionSpec = field(default_factory=MaskedAttentionSpec)
    high_resolution: CrossAttentionSpec | None = None
    high_resolution_strides: tuple[int, ...] = (4,)
    content: ContentSpec = field(default_factory=LearnableContentSpec)
    supervise_start: bool = True
    queries: PositionalQuerySpec = field(default_factory=LearnableQueriesSpec)
    positions: PositionSpec | None = None
    order: Literal["cross_first", "self_first"] = "cross_first"
    dropout: float = 0.0

    @property
    def strides(self) -> tuple[int, ...]:
        """The levels it attends to, coarse to fine."""
        return tuple(sorted({s for place in self.schedule for s in strides_of(place)}, reverse=True))

    def policy(self, place: Place) -> CrossAttentionSpec:
        """The cross-attention policy at a place of the schedule."""
        if self.high_resolution is not None and self.is_high_resolution(place):
            return self.high_resolution
        return self.attention

    def is_high_resolution(self, place: Place) -> bool:
        """Whether `high_resolution` serves this place."""
        return self.high_resolution is not None and place in self.high_resolution_strides


class DecoderBlock(nn.Module):
    """Cross-attention to one level, self-attention (or the reverse), feed-forward network.

    Attributes:
        stride: of the level it attends to, or those of the levels it joins.
        high_resolution: whether that is a high-resolution block.
        keeps_scores: whether anything later reads its cross-attention scores.
    """

    def __init__(self, spec: BlocksSpec, index: int, reads_scores: bool) -> None:
        super().__init__()
        self.stride = spec.schedule[index]
        self.high_resolution = spec.is_high_resolution(self.stride)
        self.self_first = spec.order == "self_first"
        policy = spec.policy(self.stride)
        if isinstance(self.stride, tuple) and not policy.joins:
            raise SpecError(
                f"decoder.schedule: block {index} joins the levels {list(self.stride)}, but {policy.part!r} "
                "attention needs one with rows and columns"
            )
        self.cross = policy.build(spec.dim, spec.heads, spec.dropout)
        self.self_attention = SelfAttention(spec.dim, spec.heads, spec.dropout)
        self.feed_forward = FeedForward(spec.dim, spec.ffn_dim, spec.dropout)
        later = spec.schedule[index + 1 :]
        self.keeps_scores = bool(later) and (reads_scores or _read_later(spec, self.stride, later))
        wanted = policy.score_stride
        if wanted is not None and wanted not in spec.schedule[:index]:
            raise SpecError(
                f"decoder.schedule: block {index} at stride {self.stride} reads scores of stride {wanted}, "
                "which no block before it attends to"
            )

    def forward(
        self, queries: Tensor, places: QueryPositions, level: Level, context: Context
    ) -> tuple[Tensor, Attended]:
        """Queries [B, Q, C] after the block, and what its cross-attention gave."""
        place = places.high_resolution if self.high_resolution else places.cross
        if self.self_first:
            queries = self.self_attention(queries, places.self_attention)
        attended = self.cross(queries, place, level, context, self.keeps_scores)
        queries = attended.queries
        if not self.self_first:
            queries = self.self_attention(queries, places.self_attention)
        return self.feed_forward(queries), attended


def strides_of(place: Place) -> tuple[int, ...]:
    """The strides of the levels at a place of the schedule."""
    return place if isinstance(place, tuple) else (place,)


def _read_later(spec: BlocksSpec, place: Place, later: tuple[Place, ...]) -> bool:
    """Whether a later block reads scores of this level before the level's next block renews them."""
    for other in later:
        if spec.policy(other).score_stride == place:
            return True
        if other == place:
            return False
    return False

"""The transformer decoder of Mask2Former and FASeg: queries attend to one level after the other, round-robin.

Each block is cross-attention to the level its place in the schedule names, self-attention, and a feed-forward
network, all post-norm (Mask2Former, section 3.2.1; FASeg, section 3.4). After the start and after every block
the same head predicts classes and masks, which steer the next block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import Context, CrossAttentionSpec, Level, MaskedAttentionSpec
from models.heads import MaskHead
from models.layers import FeedForward, SelfAttention
from models.outputs import SegmentationOutput
from models.positions import PositionSpec
from models.queries import LearnableQueriesSpec, PositionalQuerySpec, QueryPositions
from models.spec import Spec, SpecError


@dataclass(frozen=True, kw_only=True)
class DecoderSpec(Spec):
    """A decoder block for each entry of `schedule`, the stride of the level it attends to.

    `attention` is the cross-attention of all levels but those of `high_resolution_strides`, where
    `high_resolution` takes over if there is one.
    `positions`: encodings K_p of the decoder's own, computed from the pixel decoder's output; None, as in the
    released code, takes those that the pixel decoder used itself.
    """

    part: ClassVar[str] = "round_robin"
    least: ClassVar[dict[str, int]] = {"dim": 1, "heads": 1, "ffn_dim": 1, "num_queries": 1}
    dim: int = 256
    heads: int = 8
    ffn_dim: int = 2048
    num_queries: int = 100
    schedule: tuple[int, ...] = (32, 16, 8) * 3
    attention: CrossAttentionSpec = field(default_factory=MaskedAttentionSpec)
    high_resolution: CrossAttentionSpec | None = None
    high_resolution_strides: tuple[int, ...] = (4,)
    queries: PositionalQuerySpec = field(default_factory=LearnableQueriesSpec)
    positions: PositionSpec | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """The levels it attends to, coarse to fine."""
        return tuple(sorted(set(self.schedule), reverse=True))

    def policy(self, stride: int) -> CrossAttentionSpec:
        """The cross-attention policy at a level."""
        return (
            self.high_resolution
            if self.high_resolution and self.is_high_resolution(stride)
            else self.attention
        )

    def is_high_resolution(self, stride: int) -> bool:
        """Whether `high_resolution` serves this level."""
        return self.high_resolution is not None and stride in self.high_resolution_strides

    def build(self, mask_dim: int, num_classes: int) -> RoundRobinDecoder:
        """The decoder for pixel features of `mask_dim` channels.

        Raises:
            SpecError: an empty schedule, or an HRCA block before any block whose scores it reads.
        """
        if not self.schedule:
            raise SpecError("decoder.schedule is empty: name the stride of each block's level")
        return RoundRobinDecoder(self, mask_dim, num_classes)


class DecoderBlock(nn.Module):
    """Cross-attention to one level, self-attention, feed-forward network.

    Attributes:
        stride: of the level it attends to.
        high_resolution: whether that is a high-resolution block.
        keeps_scores: whether anything later reads its cross-attention scores.
    """

    def __init__(self, spec: DecoderSpec, index: int, reads_scores: bool) -> None:
        super().__init__()
        self.stride = spec.schedule[index]
        self.high_resolution = spec.is_high_resolution(self.stride)
        policy = spec.policy(self.stride)
        self.cross = policy.build(spec.dim, spec.heads)
        self.self_attention = SelfAttention(spec.dim, spec.heads)
        self.feed_forward = FeedForward(spec.dim, spec.ffn_dim)
        later = spec.schedule[index + 1 :]
        self.keeps_scores = bool(later) and (reads_scores or _read_later(spec, self.stride, later))
        wanted = policy.score_stride
        if wanted is not None and wanted not in spec.schedule[:index]:
            raise SpecError(
                f"decoder.schedule: block {index} at stride {self.stride} reads scores of stride {wanted}, "
                "which no block before it attends to"
            )


def _read_later(spec: DecoderSpec, stride: int, later: tuple[int, ...]) -> bool:
    """Whether a later block reads scores of this level before the level's next block renews them."""
    for other in later:
        if spec.policy(other).score_stride == stride:
            return True
        if other == stride:
            return False
    return False


class RoundRobinDecoder(nn.Module):
    """Queries, their positions, the blocks and one prediction head."""

    def __init__(self, spec: DecoderSpec, mask_dim: int, num_classes: int) -> None:
        super().__init__()
        self.strides = spec.strides
        self.content = nn.Embedding(spec.num_queries, spec.dim)
        self.queries = spec.queries.build(spec.num_queries, spec.dim)
        self.level_embedding = nn.Embedding(len(self.strides), spec.dim)
        self.positions = spec.positions.build(spec.dim, self.strides) if spec.positions else None
        reads = [self.queries.reads(spec.is_high_resolution(stride)) for stride in spec.schedule]
        self.blocks = nn.ModuleList(DecoderBlock(spec, i, read) for i, read in enumerate(reads))
        self.head = MaskHead(spec.dim, mask_dim, num_classes)

    def forward(
        self, features: Mapping[int, Tensor], positions: Mapping[int, Tensor], mask_features: Tensor
    ) -> SegmentationOutput:
        """Predictions of the last block, with those of the start and of all other blocks as auxiliary ones.

        Args:
            features: [B, C, H_s, W_s] by stride s.
            positions: their encodings, [B or 1, C, H_s, W_s]; not read if the decoder has encodings of its
            own.
            mask_features: [B, C_m, h, w].
        """
        if self.positions is not None:
            positions = {stride: self.positions(features[stride], stride) for stride in self.strides}
        levels = self._levels(features, positions)
        context = Context(sizes={stride: level.size for stride, level in levels.items()})
        queries = self.content.weight.expand(mask_features.shape[0], -1, -1)
        outputs = [self.head(queries, mask_features)]
        block = self.blocks[0]
        context.probabilities = _probabilities(outputs[-1], context.sizes[block.stride])
        places = self.queries.start(context.probabilities, levels[block.stride])
        for index, block in enumerate(self.blocks):
            if index and block.cross.uses_mask:
                context.probabilities = _probabilities(outputs[-1], context.sizes[block.stride])
            queries, places = self._step(block, queries, places, levels[block.stride], context)
            outputs.append(self.head(queries, mask_features))
        return SegmentationOutput(outputs[-1].class_logits, outputs[-1].mask_logits, outputs[:-1])

    def _step(
        self, block: DecoderBlock, queries: Tensor, places: QueryPositions, level: Level, context: Context
    ) -> tuple[Tensor, QueryPositions]:
        """One block; the positions it returns are those of the next one."""
        place = places.high_resolution if block.high_resolution else places.cross
        attended = block.cross(queries, place, level, context, block.keeps_scores)
        if attended.scores is not None:
            context.scores[block.stride] = attended.scores
        queries = block.self_attention(attended.queries, places.self_attention)
        return block.feed_forward(queries), self.queries.update(places, attended, block.high_resolution)

    def _levels(self, features: Mapping[int, Tensor], positions: Mapping[int, Tensor]) -> dict[int, Level]:
        levels = {}
        for index, stride in enumerate(self.strides):
            feature = features[stride]
            tokens = feature.flatten(2).transpose(1, 2) + self.level_embedding.weight[index]
            places = positions[stride].flatten(2).transpose(1, 2)
            levels[stride] = Level(tokens, places, (feature.shape[2], feature.shape[3]), stride)
        return levels


def _probabilities(output: SegmentationOutput, size: tuple[int, int]) -> Tensor:
    """Mask probabilities [B, Q, *size]; where they steer attention no gradient passes."""
    return F.interpolate(
        output.mask_logits.detach(), size=size, mode="bilinear", align_corners=False
    ).sigmoid()

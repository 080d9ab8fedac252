"""The transformer decoder of Mask2Former and FASeg: queries attend to one level after the other, round-robin.

Each block is cross-attention to the level its place in the schedule names, self-attention, and a feed-forward
network, all post-norm (Mask2Former, section 3.2.1; FASeg, section 3.4). After the start and after every block
the same head predicts classes and masks, which steer the next block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.attention import Context, Level, join
from models.decoders.blocks import BlocksSpec, DecoderBlock, Place
from models.heads import MaskHead
from models.outputs import SegmentationOutput
from models.shrink import shrink
from models.spec import SpecError


@dataclass(frozen=True, kw_only=True)
class DecoderSpec(BlocksSpec):
    """The decoder of a schedule of blocks; the fields are those of `BlocksSpec`."""

    part: ClassVar[str] = "round_robin"

    def build(self, mask_dim: int, num_classes: int) -> RoundRobinDecoder:
        """The decoder for pixel features of `mask_dim` channels.

        Raises:
            SpecError: an empty schedule, a high-resolution policy without a block, or an HRCA block before
                any block whose scores it reads.
        """
        if not self.schedule or () in self.schedule:
            raise SpecError("decoder.schedule is empty: name the stride of each block's level")
        if self.high_resolution is not None and not any(map(self.is_high_resolution, self.schedule)):
            raise SpecError(
                f"decoder.high_resolution is {self.high_resolution.part!r}, but no block of decoder.schedule "
                f"has a stride of decoder.high_resolution_strides {list(self.high_resolution_strides)}"
            )
        return RoundRobinDecoder(self, mask_dim, num_classes)


class RoundRobinDecoder(nn.Module):
    """Queries, their positions, the blocks and one prediction head."""

    def __init__(self, spec: DecoderSpec, mask_dim: int, num_classes: int) -> None:
        super().__init__()
        self.strides, self.supervise_start = spec.strides, spec.supervise_start
        self.content = spec.content.build(spec.num_queries, spec.dim)
        self.queries = spec.queries.build(spec.num_queries, spec.dim)
        self.level_embedding = nn.Embedding(len(self.strides), spec.dim)
        self.positions = spec.positions.build(spec.dim, self.strides) if spec.positions else None
        reads = [self.queries.reads(spec.is_high_resolution(place)) for place in spec.schedule]
        self.blocks = nn.ModuleList(DecoderBlock(spec, i, read) for i, read in enumerate(reads))
        self.head = MaskHead(spec.dim, mask_dim, num_classes)

    def forward(
        self, features: Mapping[int, Tensor], positions: Mapping[int, Tensor], mask_features: Tensor
    ) -> SegmentationOutput:
        """Predictions of the last block, with those of the start (if supervised) and of all other blocks as
        auxiliary ones.

        Args:
            features: [B, C, H_s, W_s] by stride s.
            positions: their encodings, [B or 1, C, H_s, W_s]; not read if the decoder has encodings of its
            own.
            mask_features: [B, C_m, h, w].
        """
        if self.positions is not None:
            positions = {stride: self.positions(features[stride], stride) for stride in self.strides}
        levels = self._levels(features, positions)
        context = Context(sizes={stride: levels[stride].size for stride in self.strides})
        queries = self.content.weight.expand(mask_features.shape[0], -1, -1)
        outputs = [self.head(queries, mask_features)]
        for index, block in enumerate(self.blocks):
            level, steers = levels[block.stride], self.queries.steers(block.high_resolution)
            if not index or block.cross.uses_mask or steers:
                context.probabilities = _at_level(outputs[-1], level)
            if not index:
                places = self.queries.start(context.probabilities, level)
            elif steers:
                places = self.queries.renew(places, context.probabilities, level)
            queries, attended = block(queries, places, level, context)
            if attended.scores is not None:
                context.scores[block.stride] = attended.scores
            places = self.queries.update(places, attended, block.high_resolution)
            outputs.append(self.head(queries, mask_features))
        auxiliary = outputs[:-1] if self.supervise_start else outputs[1:-1]
        return SegmentationOutput(outputs[-1].class_logits, outputs[-1].mask_logits, auxiliary)

    def _levels(self, features: Mapping[int, Tensor], positions: Mapping[int, Tensor]) -> dict[Place, Level]:
        """The levels by stride, and the joined ones by their strides."""
        levels: dict[Place, Level] = {}
        for index, stride in enumerate(self.strides):
            feature = features[stride]
            tokens = feature.flatten(2).transpose(1, 2) + self.level_embedding.weight[index]
            places = positions[stride].flatten(2).transpose(1, 2)
            levels[stride] = Level(tokens, places, (feature.shape[2], feature.shape[3]), stride)
        for block in self.blocks:
            if block.stride not in levels:
                levels[block.stride] = join([levels[stride] for stride in block.stride])
        return levels


def _at_level(output: SegmentationOutput, level: Level) -> Tensor:
    """Mask probabilities [B, Q, *level.size]."""
    if not level.parts:
        return _probabilities(output, level.size)
    parts = [_probabilities(output, part.size).flatten(2) for part in level.parts]
    return torch.cat(parts, dim=2)[:, :, None]


def _probabilities(output: SegmentationOutput, size: tuple[int, int]) -> Tensor:
    """Mask probabilities [B, Q, *size]; where they steer attention no gradient passes."""
    return shrink(output.mask_logits.detach(), size).sigmoid()

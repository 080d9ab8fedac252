"""DETR's mask head (Carion et al. 2020, section 4.4 and figure 8): where queries look, refined.

A query's attention over the encoded image, one map a head, is taken together with the image features through
a small convolutional network that adds the backbone's finer features on its way up. Every query has its own
copy of the feature maps: the head's cost is that of batch times queries images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.spec import Spec, SpecError

GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class PanopticHeadSpec(Spec):
    """`levels`: the backbone's features that are added, coarse to fine; the masks have the size of the last.

    Each step halves the channels, from half of the transformer's on.
    """

    part: ClassVar[str] = "detr_panoptic_head"
    least: ClassVar[dict[str, int]] = {"heads": 1}
    levels: tuple[str, ...] = ("res4", "res3", "res2")
    heads: int = 8

    def build(self, dim: int, channels: Mapping[str, int]) -> PanopticHead:
        """The head for queries and memory of `dim` channels and backbone features of these channels.

        Raises:
            SpecError: no such backbone feature, or too few channels for so many steps.
        """
        if unknown := [level for level in self.levels if level not in channels]:
            raise SpecError(f"mask_head.levels {unknown}: the backbone has {', '.join(channels)}")
        if dim % self.heads or dim % 2 ** (len(self.levels) + 1):
            raise SpecError(
                f"mask head: {dim} channels cannot be split among {self.heads} heads and halved "
                f"{len(self.levels) + 1} times"
            )
        return PanopticHead(self, dim, channels)


class AttentionMap(nn.Module):
    """Attention scores of queries to pixels, without values; one softmax over all heads and pixels."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        for projection in (self.query, self.key):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, queries: Tensor, memory: Tensor, padding: Tensor | None = None) -> Tensor:
        """Queries [B, Q, C], memory [B, C, H, W], padding [B, H, W] True outside the image
        -> [B, Q, heads, H, W]."""
        size = memory.shape[-2:]
        query = self.query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.key(memory.flatten(2).transpose(1, 2)).unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1)
        scores = (query * query.shape[-1] ** -0.5) @ key  # [B, heads, Q, N]
        if padding is not None:
            scores = scores.masked_fill(padding.flatten(1)[:, None, None], float("-inf"))
        scores = scores.transpose(1, 2)
        return scores.flatten(2).softmax(-1).view(scores.shape).unflatten(-1, size)


class PanopticHead(nn.Module):
    """Attention maps, two convolutions at stride 32, and a step up for each level."""

    def __init__(self, spec: PanopticHeadSpec, dim: int, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.levels = spec.levels
        self.attention = AttentionMap(dim, spec.heads)
        widths = [dim // 2 ** (i + 1) for i in range(len(spec.levels) + 1)]
        self.start = nn.Sequential(
            *_convolution(dim + spec.heads, dim + spec.heads), *_convolution(dim + spec.heads, widths[0])
        )
        self.lateral = nn.ModuleList(
            nn.Conv2d(channels[level], width, 1)
            for level, width in zip(spec.levels, widths[:-1], strict=True)
        )
        self.steps = nn.ModuleList(
            nn.Sequential(*_convolution(a, b)) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.output = nn.Conv2d(widths[-1], 1, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(
        self,
        queries: Tensor,
        memory: Tensor,
        projected: Tensor,
        features: Mapping[str, Tensor],
        padding: Tensor | None = None,
    ) -> Tensor:
        """Mask logits [B, Q, h, w] at the size of the finest level.

        Args:
            queries: [B, Q, C] of the last decoder layer.
            memory: [B, C, H, W], the encoded image.
            projected: [B, C, H, W], what the encoder was given.
            features: the backbone's, [B, C_i, H_i, W_i] by level.
            padding: [B, H, W] bool, True outside the image.
        """
        batch, count = queries.shape[:2]
        maps = self.attention(queries, memory, padding).flatten(0, 1)
        x = self.start(torch.cat([_repeat(projected, count), maps], dim=1))
        for level, lateral, step in zip(self.levels, self.lateral, self.steps, strict=True):
            finer = lateral(features[level])
            x = F.interpolate(x, size=finer.shape[-2:], mode="nearest")
            x = step(_repeat(finer, count) + x)
        return self.output(x).unflatten(0, (batch, count))[:, :, 0]


def _repeat(maps: Tensor, count: int) -> Tensor:
    """[B, C, H, W] to [B * count, C, H, W], each `count` times in a row."""
    return maps[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.GroupNorm(math.gcd(GROUPS, outputs), outputs),
        nn.ReLU(),
    )


NAMES = (
    (r"mask_head\.attention\.query\.(.+)", r"bbox_attention.q_linear.\1"),
    (r"mask_head\.attention\.key\.(.+)", r"bbox_attention.k_linear.\1"),
    *(
        (rf"mask_head\.start\.{index}\.(.+)", rf"mask_head.{name}.\1")
        for index, name in ((0, "lay1"), (1, "gn1"), (3, "lay2"), (4, "gn2"))
    ),
    *((rf"mask_head\.steps\.{i}\.0\.(.+)", rf"mask_head.lay{i + 3}.\1") for i in range(3)),
    *((rf"mask_head\.steps\.{i}\.1\.(.+)", rf"mask_head.gn{i + 3}.\1") for i in range(3)),
    *((rf"mask_head\.lateral\.{i}\.(.+)", rf"mask_head.adapter{i + 1}.\1") for i in range(3)),
    (r"mask_head\.output\.(.+)", r"mask_head.out_lay.\1"),
)
"""Rules for its names in the released DETR, below `mask_head` in ours; Hugging Face has the same."""

"""The encoder of Deformable DETR (Zhu et al. 2021, section 4.1): every pixel of every level is a query.

Mask2Former's pixel decoder, Panoptic SegFormer and Deformable DETR are built on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.deformable import MSDeformAttention, Pyramid
from models.slices import in_slices
from models.spec import Spec, SpecError


@dataclass(frozen=True, kw_only=True)
class DeformableEncoderSpec(Spec):
    """`layers` layers, each with `points` samples a level and head; the defaults are Deformable DETR's."""

    part: ClassVar[str] = "deformable_encoder"
    least: ClassVar[dict[str, int]] = {"layers": 0, "heads": 1, "points": 1, "ffn_dim": 1}
    layers: int = 6
    heads: int = 8
    points: int = 4
    ffn_dim: int = 1024
    dropout: float = 0.1

    def build(self, dim: int, levels: int) -> DeformableEncoder:
        """The encoder of `dim` channels over `levels` levels."""
        return DeformableEncoder(
            dim, levels, self.layers, self.heads, self.points, self.ffn_dim, self.dropout
        )


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention of all pixels of all levels, and a feed-forward network, post-norm."""

    def __init__(
        self, dim: int, levels: int, heads: int, points: int, ffn_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.attention = MSDeformAttention(dim, levels, heads, points)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.linear1, self.linear2 = nn.Linear(dim, ffn_dim), nn.Linear(ffn_dim, dim)
        self.dropout = dropout
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, x: Tensor, positions: Tensor, pyramid: Pyramid) -> Tensor:
        """x [B, S, C] and positions [B or 1, S, C] -> [B, S, C]."""
        attended = self.attention(x + positions, x, pyramid)
        return in_slices(self._feed_forward, x.flatten(0, 1), attended.flatten(0, 1)).view(x.shape)

    def _feed_forward(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self.norm1(x + self._drop(attended))
        hidden = self._drop(F.relu(self.linear1(x)))
        return self.norm2(x + self._drop(self.linear2(hidden)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class DeformableEncoder(nn.Module):
    """Layers over the flattened levels; each level has an embedding added to its positions."""

    def __init__(
        self,
        dim: int,
        levels: int,
        layers: int = 6,
        heads: int = 8,
        points: int = 4,
        ffn_dim: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.level_embedding = nn.Parameter(torch.empty(levels, dim))
        self.layers = nn.ModuleList(
            DeformableEncoderLayer(dim, levels, heads, points, ffn_dim, dropout) for _ in range(layers)
        )
        nn.init.normal_(self.level_embedding)

    def forward(
        self,
        features: Sequence[Tensor],
        positions: Sequence[Tensor],
        padding: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Pyramid]:
        """Encode the levels together.

        Args:
            features: of each level [B, C, H_l, W_l].
            positions: of each level [B or 1, C, H_l, W_l].
            padding: of each level [B, H_l, W_l] bool, True where it is not image; None: all is image.

        Returns:
            The tokens of all levels in the order given, [B, S, C], and the levels' sizes and padding;
            `unflatten` gives maps again.
        """
        shapes = [(feature.shape[2], feature.shape[3]) for feature in features]
        x = torch.cat([tokens(feature) for feature in features], dim=1)
        places = [tokens(position) + self.level_embedding[i] for i, position in enumerate(positions)]
        place = torch.cat(places, dim=1)
        pyramid = Pyramid.of(shapes, x, padding)
        for layer in self.layers:
            x = layer(x, place, pyramid)
        return x, pyramid


class LevelProjections(nn.Module):
    """Backbone maps to `levels` maps of `dim` channels: 1x1 convolutions, then 3x3 ones of stride 2 from the
    last map on, each with GroupNorm (Deformable DETR, appendix A.1; mmdetection's ChannelMapper)."""

    def __init__(
        self, channels: Sequence[int], dim: int, levels: int, groups: int = 32, bias: bool = False
    ) -> None:
        super().__init__()
        if levels < len(channels):
            raise SpecError(f"{levels} levels cannot be fewer than the {len(channels)} backbone maps")
        if dim % groups:
            raise SpecError(f"{dim} channels are not a multiple of {groups} groups")
        extra = levels - len(channels)
        convolutions = [nn.Conv2d(inputs, dim, 1, bias=bias) for inputs in channels]
        for i in range(extra):
            inputs = channels[-1] if i == 0 else dim
            convolutions.append(nn.Conv2d(inputs, dim, 3, stride=2, padding=1, bias=bias))
        self.layers = nn.ModuleList(nn.Sequential(layer, nn.GroupNorm(groups, dim)) for layer in convolutions)
        for layer in convolutions:
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps [B, C_i, H_i, W_i], fine to coarse, to [B, dim, H_l, W_l] of all levels."""
        projected = [layer(x) for layer, x in zip(self.layers, maps, strict=False)]
        x = maps[-1]
        for layer in self.layers[len(maps) :]:
            x = layer(x)
            projected.append(x)
        return projected


def tokens(maps: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H * W, C]."""
    return maps.flatten(2).transpose(1, 2)


def unflatten(memory: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Tokens [B, S, C] of levels of these (height, width) to maps [B, C, H_l, W_l].

    Nothing is copied: the maps lie in memory with their channels last, and are split before they are permuted
    so that PyTorch can tell (by the strides) even for one image.
    """
    parts = memory.split([height * width for height, width in shapes], dim=1)
    return [part.unflatten(1, shape).permute(0, 3, 1, 2) for part, shape in zip(parts, shapes, strict=True)]

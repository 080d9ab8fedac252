"""The pixel decoder of MaskFormer (section 3.3 and 4.1): a feature pyramid with GroupNorm.

Its panoptic ResNet models put DETR's encoder on the coarsest level, before the pyramid.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from models.decoders.transformer import TransformerEncoderSpec
from models.pixel_decoders.pyramid import (
    STAGES,
    Maps,
    PyramidPixelDecoder,
    PyramidSpec,
    convolution,
    normed,
)
from models.positions import SinusoidalPositions


@dataclass(frozen=True, kw_only=True)
class FPNSpec(PyramidSpec):
    """Top-down, nearest upsampling, a 3x3 convolution at every level.

    `encoder` transforms the coarsest level, projected to `dim` channels, before the pyramid is built on it.
    `positions` are those of the levels that a decoder wants encoded, computed from the pyramid.
    """

    part: ClassVar[str] = "fpn"
    encoder: TransformerEncoderSpec | None = None

    def build(
        self, channels: Mapping[str, int], strides: Collection[int], encode: Collection[int]
    ) -> FPNPixelDecoder:
        return FPNPixelDecoder(self, channels, strides, encode)


class EncodedLevel(nn.Module):
    """The coarsest level, projected, through DETR's encoder: [B, C_5, H, W] -> [B, C, H, W]."""

    def __init__(self, spec: FPNSpec, channels: int) -> None:
        super().__init__()
        assert spec.encoder is not None
        self.project = convolution(channels, spec.dim, 1)
        self.positions = SinusoidalPositions(spec.dim)
        self.transformer = spec.encoder.build(spec.dim)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.project(maps)
        positions = self.positions(maps).flatten(2).transpose(1, 2)
        tokens = self.transformer(maps.flatten(2).transpose(1, 2), positions)
        return tokens.transpose(1, 2).unflatten(2, maps.shape[-2:])


class FPNPixelDecoder(PyramidPixelDecoder):
    """P32 = conv(C5); P_s = conv(lateral(C_s) + nearest(P_2s)); each with GroupNorm, conv also with ReLU."""

    def __init__(
        self,
        spec: FPNSpec,
        channels: Mapping[str, int],
        strides: Collection[int],
        encode: Collection[int],
    ) -> None:
        super().__init__(spec, strides, encode, spec.dim)
        self.encoder = None if spec.encoder is None else EncodedLevel(spec, channels["res5"])
        coarsest = channels["res5"] if spec.encoder is None else spec.dim
        self.lateral = nn.ModuleDict(
            {str(s): normed(channels[STAGES[s]], spec.dim, spec.norm_groups, 1) for s in (16, 8, 4)}
        )
        self.output = nn.ModuleDict(
            {
                str(s): nn.Sequential(
                    *normed(coarsest if s == 32 else spec.dim, spec.dim, spec.norm_groups, 3), nn.ReLU()
                )
                for s in (32, 16, 8, 4)
            }
        )

    def pyramid(self, backbone: Mapping[str, Tensor]) -> Maps:
        coarsest, encoded = backbone["res5"], None
        if self.encoder is not None:
            coarsest = encoded = self.encoder(coarsest)
        level = self.output["32"](coarsest)
        levels = {32: level}
        for stride in (16, 8, 4):
            lateral = self.lateral[str(stride)](backbone[STAGES[stride]])
            above = F.interpolate(level, size=lateral.shape[-2:], mode="nearest")
            levels[stride] = level = self.output[str(stride)](lateral + above)
        return Maps(levels, level, encoded)

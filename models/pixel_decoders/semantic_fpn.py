"""Semantic FPN (Panoptic FPN, Kirillov et al. 2019, section 3): a pyramid merged at stride 4."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from models.pixel_decoders.fpn import FPNPixelDecoder, FPNSpec
from models.pixel_decoders.pyramid import Maps, normed


@dataclass(frozen=True, kw_only=True)
class SemanticFPNSpec(FPNSpec):
    """The FPN's levels for the decoder, their merged maps for the mask features.

    Panoptic FPN merges 128 channels. Ours are `dim`: with 256, and with an encoder below the pyramid as in
    MaskFormer's COCO models, the model has the 258 GFLOPs that Mask2Former's Table 4e prints.
    """

    part: ClassVar[str] = "semantic_fpn"

    def build(
        self, channels: Mapping[str, int], strides: Collection[int], encode: Collection[int]
    ) -> SemanticFPNPixelDecoder:
        return SemanticFPNPixelDecoder(self, channels, strides, encode)


class SemanticFPNPixelDecoder(FPNPixelDecoder):
    """Each level is convolved and doubled in size until it has stride 4; the sum of all four is merged."""

    def __init__(
        self,
        spec: SemanticFPNSpec,
        channels: Mapping[str, int],
        strides: Collection[int],
        encode: Collection[int],
    ) -> None:
        super().__init__(spec, channels, strides, encode)
        doublings = {4: 0, 8: 1, 16: 2, 32: 3}
        self.merge = nn.ModuleDict({str(s): _up(spec, steps) for s, steps in doublings.items()})

    def pyramid(self, backbone: Mapping[str, Tensor]) -> Maps:
        maps = super().pyramid(backbone)
        return maps._replace(finest=sum(self.at_stride_4(maps.levels, s) for s in maps.levels))

    def at_stride_4(self, levels: Mapping[int, Tensor], stride: int) -> Tensor:
        """The level [B, C, H_s, W_s] of a stride to [B, C, h, w], by the sizes of the levels between."""
        x = levels[stride]
        for convolution in self.merge[str(stride)]:
            x = F.relu(convolution(x))
            if stride > 4:
                stride //= 2
                x = F.interpolate(x, size=levels[stride].shape[-2:], mode="bilinear", align_corners=False)
        return x


def _up(spec: SemanticFPNSpec, steps: int) -> nn.ModuleList:
    """One convolution for each doubling, and one at stride 4 itself."""
    return nn.ModuleList(normed(spec.dim, spec.dim, spec.norm_groups, 3) for _ in range(max(1, steps)))

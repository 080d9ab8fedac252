"""FaPN (Huang et al. 2021, section 3): a pyramid that selects features and aligns what it adds to them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from models.pixel_decoders.pyramid import STAGES, Maps, PyramidPixelDecoder, PyramidSpec, convolution, normed
from models.precision import autocast_disabled, full_precision


@dataclass(frozen=True, kw_only=True)
class FaPNSpec(PyramidSpec):
    """The coarsest level is a 1x1 projection, as in FaPN's code; Mask2Former with Swin-L then has the 217 M
    parameters of its Table V."""

    part: ClassVar[str] = "fapn"
    least: ClassVar[dict[str, int]] = {**PyramidSpec.least, "offset_groups": 1}
    offset_groups: int = 8

    def build(
        self, channels: Mapping[str, int], strides: Collection[int], encode: Collection[int]
    ) -> FaPNPixelDecoder:
        return FaPNPixelDecoder(self, channels, strides, encode)


class FeatureSelection(nn.Module):
    """Lateral connection (FSM, equation 4): conv(x + x * sigmoid(conv(mean of x)))."""

    def __init__(self, inputs: int, outputs: int, norm_groups: int) -> None:
        super().__init__()
        self.importance = normed(inputs, inputs, math.gcd(norm_groups, inputs), 1)
        self.select = convolution(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_i, H, W] -> [B, C, H, W]."""
        weights = self.importance(x.mean(dim=(2, 3), keepdim=True)).sigmoid()
        return self.select(x + x * weights)


class FeatureAlignment(nn.Module):
    """Upsampled features moved to where the lateral ones are (FAM, equations 2 and 3), then their sum.

    A modulated deformable convolution, whose offsets come from both; its offsets start at 0, its mask at 1/2.
    """

    def __init__(self, dim: int, norm_groups: int, offset_groups: int) -> None:
        super().__init__()
        self.difference = normed(2 * dim, dim, norm_groups, 1)
        self.offsets = nn.Conv2d(dim, 3 * 9 * offset_groups, 3, padding=1)
        self.align = convolution(dim, dim, 3)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)  # type: ignore[arg-type]

    def forward(self, lateral: Tensor, above: Tensor) -> Tensor:
        """Features of a level [B, C, H, W] and of the level above it [B, C, h, w] to [B, C, H, W]."""
        above = F.interpolate(above, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        moves = self.offsets(self.difference(torch.cat((lateral, 2 * above), dim=1)))
        split = moves.shape[1] // 3 * 2
        with autocast_disabled(above.device.type):  # the operator has no half precision on every device
            above, moves = full_precision(above), full_precision(moves)
            offset, mask = moves[:, :split], moves[:, split:].sigmoid()
            aligned = deform_conv2d(
                above, offset, self.align.weight, self.align.bias, padding=(1, 1), mask=mask
            )
        return F.relu(aligned) + lateral


class FaPNPixelDecoder(PyramidPixelDecoder):
    """P32 = conv(C5); M_s = align(select(C_s), M_2s); P_s = conv(M_s)."""

    def __init__(
        self,
        spec: FaPNSpec,
        channels: Mapping[str, int],
        strides: Collection[int],
        encode: Collection[int],
    ) -> None:
        super().__init__(spec, strides, encode, spec.dim)
        dim, groups = spec.dim, spec.norm_groups
        self.coarsest = normed(channels["res5"], dim, groups, 1)
        self.select = nn.ModuleDict(
            {str(s): FeatureSelection(channels[STAGES[s]], dim, groups) for s in (16, 8, 4)}
        )
        self.align = nn.ModuleDict(
            {str(s): FeatureAlignment(dim, groups, spec.offset_groups) for s in (16, 8, 4)}
        )
        self.output = nn.ModuleDict({str(s): normed(dim, dim, groups, 3) for s in (16, 8, 4)})

    def pyramid(self, backbone: Mapping[str, Tensor]) -> Maps:
        level = self.coarsest(backbone["res5"])
        levels = {32: level}
        for stride in (16, 8, 4):
            lateral = self.select[str(stride)](backbone[STAGES[stride]])
            level = self.align[str(stride)](lateral, level)
            levels[stride] = self.output[str(stride)](level)
        return Maps(levels, levels[4])

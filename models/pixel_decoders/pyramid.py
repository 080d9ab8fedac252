"""What pixel decoders that build a pyramid of the backbone's four levels share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from models.pixel_decoders.base import PixelDecoderSpec, PixelFeatures
from models.positions import PositionSpec, SinusoidalSpec
from models.spec import SpecError

STAGES = {4: "res2", 8: "res3", 16: "res4", 32: "res5"}


@dataclass(frozen=True, kw_only=True)
class PyramidSpec(PixelDecoderSpec):
    """`positions` are those of the levels that a decoder wants encoded, computed from the pyramid."""

    least: ClassVar[dict[str, int]] = {"dim": 1, "mask_dim": 1, "norm_groups": 1}
    norm_groups: int = 32
    positions: PositionSpec = field(default_factory=SinusoidalSpec)


class Maps(NamedTuple):
    """What a pyramid gives.

    Attributes:
        levels: [B, C, H_s, W_s] by stride s, at least those that the decoder attends to.
        finest: [B, C', h, w] at stride 4, from which mask features come.
        encoded: [B, C, H_32, W_32], output of an encoder below the pyramid, if it has one.
    """

    levels: dict[int, Tensor]
    finest: Tensor
    encoded: Tensor | None = None


class PyramidPixelDecoder(nn.Module):
    """A pyramid, and mask features from its finest map (of `finest_dim` channels) by a 3x3 convolution."""

    def __init__(
        self, spec: PyramidSpec, strides: Collection[int], encode: Collection[int], finest_dim: int
    ) -> None:
        super().__init__()
        check_levels(strides, spec.dim, spec.norm_groups)
        self.strides, self.encode = tuple(strides), tuple(encode)
        self.positions = spec.positions.build(spec.dim, self.encode)
        self.mask_features = convolution(finest_dim, spec.mask_dim, 3)

    def pyramid(self, backbone: Mapping[str, Tensor]) -> Maps:
        """Backbone features "res2" to "res5" [B, C_i, H_i, W_i] to the maps."""
        raise NotImplementedError

    def forward(self, backbone: Mapping[str, Tensor]) -> PixelFeatures:
        """Backbone features "res2" to "res5" [B, C_i, H_i, W_i] to mask features and the wanted levels."""
        maps = self.pyramid(backbone)
        positions = {s: self.positions(maps.levels[s], s) for s in self.encode}
        wanted = {s: maps.levels[s] for s in self.strides}
        return PixelFeatures(self.mask_features(maps.finest), wanted, positions, maps.encoded)


def check_levels(strides: Collection[int], dim: int, norm_groups: int) -> None:
    """Raises SpecError: a level that there is not, or channels that the groups do not divide."""
    if unknown := set(strides) - STAGES.keys():
        raise SpecError(f"no features at stride {sorted(unknown)}; the pixel decoder has {sorted(STAGES)}")
    if dim % norm_groups:
        raise SpecError(f"pixel_decoder.dim {dim} is not a multiple of norm_groups {norm_groups}")


def convolution(inputs: int, outputs: int, kernel: int, bias: bool = True, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size; uniform weights in +- sqrt(3 / fan_in), bias 0 (Caffe2's Xavier)."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias, groups=groups)
    nn.init.kaiming_uniform_(layer.weight, a=1)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def normed(inputs: int, outputs: int, norm_groups: int, kernel: int) -> nn.Sequential:
    """A convolution without bias, and GroupNorm."""
    return nn.Sequential(convolution(inputs, outputs, kernel, bias=False), nn.GroupNorm(norm_groups, outputs))

"""BiFPN (Tan et al. 2020, EfficientDet, section 3): weighted fusion down and up a pyramid, several times."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.pixel_decoders.pyramid import STAGES, Maps, PyramidPixelDecoder, PyramidSpec, convolution, normed
from models.spec import SpecError


@dataclass(frozen=True, kw_only=True)
class BiFPNSpec(PyramidSpec):
    """`layers` of fusion at `width` channels, then 1x1 projections to `dim` for the decoder.

    Mask2Former gives no details of its BiFPN. EfficientDet's has 64 to 384 channels, 3 to 8 layers and
    `separable` convolutions. Our defaults are a choice among what fits the 204 GFLOPs of Table 4e.
    """

    part: ClassVar[str] = "bifpn"
    least: ClassVar[dict[str, int]] = {**PyramidSpec.least, "layers": 1, "width": 1}
    layers: int = 6
    width: int = 128
    separable: bool = False

    def build(
        self, channels: Mapping[str, int], strides: Collection[int], encode: Collection[int]
    ) -> BiFPNPixelDecoder:
        if self.width % self.norm_groups:
            raise SpecError(
                f"pixel_decoder.width {self.width} is not a multiple of norm_groups {self.norm_groups}"
            )
        return BiFPNPixelDecoder(self, channels, strides, encode)


class Fusion(nn.Module):
    """conv(swish(sum of w_i x_i)) with w_i = relu(v_i) / (sum of relu(v) + 1e-4) (section 3.3), normed."""

    def __init__(self, inputs: int, spec: BiFPNSpec) -> None:
        super().__init__()
        width = spec.width
        self.weights = nn.Parameter(torch.ones(inputs))
        layers: list[nn.Module] = []
        if spec.separable:
            layers += [
                convolution(width, width, 3, bias=False, groups=width),
                convolution(width, width, 1, bias=False),
            ]
        else:
            layers.append(convolution(width, width, 3, bias=False))
        self.convolution = nn.Sequential(*layers, nn.GroupNorm(spec.norm_groups, width))

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps [B, C, H, W] of the same shape to one."""
        weights = F.relu(self.weights)
        weights = weights / (weights.sum() + 1e-4)
        fused = sum(weight * x for weight, x in zip(weights, maps, strict=True))
        return self.convolution(F.silu(fused))


class BiFPNLayer(nn.Module):
    """Coarse to fine by nearest upsampling, then fine to coarse by max pooling (figure 2d)."""

    def __init__(self, spec: BiFPNSpec) -> None:
        super().__init__()
        self.down = nn.ModuleList(Fusion(2, spec) for _ in (16, 8))
        self.finest = Fusion(2, spec)
        self.up = nn.ModuleList(Fusion(3, spec) for _ in (8, 16))
        self.coarsest = Fusion(2, spec)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Levels at strides 32, 16, 8, 4, to the same."""
        p32, p16, p8, p4 = levels
        m16 = self.down[0](p16, _as(p16, p32))
        m8 = self.down[1](p8, _as(p8, m16))
        o4 = self.finest(p4, _as(p4, m8))
        o8 = self.up[0](p8, m8, _halved(o4))
        o16 = self.up[1](p16, m16, _halved(o8))
        return [self.coarsest(p32, _halved(o16)), o16, o8, o4]


class BiFPNPixelDecoder(PyramidPixelDecoder):
    """Projections of the four levels to `width`, the layers, projections to `dim`."""

    def __init__(
        self,
        spec: BiFPNSpec,
        channels: Mapping[str, int],
        strides: Collection[int],
        encode: Collection[int],
    ) -> None:
        super().__init__(spec, strides, encode, spec.width)
        self.lateral = nn.ModuleDict(
            {str(s): normed(channels[name], spec.width, spec.norm_groups, 1) for s, name in STAGES.items()}
        )
        self.layers = nn.Sequential(*(BiFPNLayer(spec) for _ in range(spec.layers)))
        self.output = nn.ModuleDict({str(s): convolution(spec.width, spec.dim, 1) for s in sorted(strides)})

    def pyramid(self, backbone: Mapping[str, Tensor]) -> Maps:
        order = sorted(STAGES, reverse=True)
        maps = self.layers([self.lateral[str(s)](backbone[STAGES[s]]) for s in order])
        by_stride = dict(zip(order, maps, strict=True))
        return Maps({int(s): output(by_stride[int(s)]) for s, output in self.output.items()}, maps[-1])


def _as(finer: Tensor, x: Tensor) -> Tensor:
    """`x` at the size of the finer map, twice its own where that is even."""
    return F.interpolate(x, size=finer.shape[-2:], mode="nearest")


def _halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2, padding=1)

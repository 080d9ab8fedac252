"""The pixel decoder of Mask2Former: a deformable-attention encoder over three levels, then one pyramid step.

Source: Mask2Former, section 3.2.2 and 4.1; the encoder is that of Deformable DETR. FASeg's encodings: FASeg,
3.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from models.deformable_encoder import DeformableEncoder, unflatten
from models.pixel_decoders.base import PixelDecoderSpec, PixelFeatures
from models.pixel_decoders.pyramid import STAGES, check_levels, convolution, normed
from models.positions import ConditionalSpec, PositionSpec, SinusoidalSpec
from models.precision import autocast_disabled, full_precision

ENCODED = (32, 16, 8)  # the levels of the encoder, coarse to fine
FINEST = 4


@dataclass(frozen=True, kw_only=True)
class MSDeformAttnSpec(PixelDecoderSpec):
    """`layers` encoder layers, each with `points` samples a level and head.

    `positions` are those of the encoder and, unless it has its own, of the transformer decoder.
    """

    part: ClassVar[str] = "msdeformattn"
    least: ClassVar[dict[str, int]] = {
        "dim": 1, "mask_dim": 1, "layers": 0, "heads": 1, "points": 1, "ffn_dim": 1, "norm_groups": 1,
    }  # fmt: skip
    layers: int = 6
    heads: int = 8
    points: int = 4
    ffn_dim: int = 1024
    norm_groups: int = 32
    positions: PositionSpec = field(default_factory=SinusoidalSpec)

    def build(
        self, channels: Mapping[str, int], strides: Collection[int], encode: Collection[int]
    ) -> MSDeformAttnPixelDecoder:
        return MSDeformAttnPixelDecoder(self, channels, strides, encode)


class MSDeformAttnPixelDecoder(nn.Module):
    """Projections of the backbone's levels, the encoder, a step up to stride 4. Never in half precision."""

    def __init__(
        self,
        spec: MSDeformAttnSpec,
        channels: Mapping[str, int],
        strides: Collection[int],
        encode: Collection[int],
    ) -> None:
        super().__init__()
        check_levels(strides, spec.dim, spec.norm_groups)
        encode = set(ENCODED) | set(encode)
        self.returns_finest, self.encodes_finest = FINEST in strides, FINEST in encode
        self.positions = spec.positions.build(spec.dim, sorted(encode, reverse=True))
        projected = list(ENCODED)
        if (
            self.encodes_finest
            and isinstance(spec.positions, ConditionalSpec)
            and spec.positions.finest == "projected"
        ):
            projected.append(FINEST)
        self.projections = nn.ModuleDict({str(s): _projection(channels[STAGES[s]], spec) for s in projected})
        self.encoder = DeformableEncoder(
            spec.dim, len(ENCODED), spec.layers, spec.heads, spec.points, spec.ffn_dim
        )
        self.lateral = normed(channels[STAGES[FINEST]], spec.dim, spec.norm_groups, 1)
        self.output = nn.Sequential(*normed(spec.dim, spec.dim, spec.norm_groups, 3), nn.ReLU(inplace=True))
        self.mask_features = convolution(spec.dim, spec.mask_dim, 1)

    def forward(self, backbone: Mapping[str, Tensor]) -> PixelFeatures:
        """Backbone features "res2" to "res5" [B, C_i, H_i, W_i] to pyramid, encodings and mask features."""
        inputs = {stride: full_precision(backbone[name]) for stride, name in STAGES.items()}
        with autocast_disabled(inputs[FINEST].device.type):
            projected = {int(s): projection(inputs[int(s)]) for s, projection in self.projections.items()}
            lateral = self.lateral(inputs[FINEST])
            positions = {s: self.positions(projected[s], s) for s in ENCODED}
            if self.encodes_finest:
                positions[FINEST] = self.positions(projected.get(FINEST, lateral), FINEST)
            memory, pyramid = self.encoder([projected[s] for s in ENCODED], [positions[s] for s in ENCODED])
            features = dict(zip(ENCODED, unflatten(memory, pyramid.shapes), strict=True))
            upsampled = F.interpolate(
                features[8], size=lateral.shape[-2:], mode="bilinear", align_corners=False
            )
            finest = self.output(upsampled + lateral)  # in the layout of tokens, which convolutions prefer
            if self.returns_finest:
                features[FINEST] = finest
            return PixelFeatures(self.mask_features(finest).contiguous(), features, positions)


def _projection(channels: int, spec: MSDeformAttnSpec) -> nn.Sequential:
    layer = nn.Conv2d(channels, spec.dim, 1)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(layer, nn.GroupNorm(spec.norm_groups, spec.dim))

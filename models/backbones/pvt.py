"""Pyramid Vision Transformer v2 (Wang et al. 2022), as in the released Panoptic SegFormer: timm's network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from timm.models.pvt_v2 import PyramidVisionTransformerV2
from torch import Tensor

from models.backbones.base import LEVELS, Backbone, BackboneSpec
from models.backbones.weights import load_weights

VARIANTS: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    # channels, blocks and MLP ratio of each stage
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), (8, 8, 4, 4)),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3), (8, 8, 4, 4)),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3), (4, 4, 4, 4)),
}
HEADS, REDUCTIONS = (1, 2, 5, 8), (8, 4, 2, 1)


@dataclass(frozen=True, kw_only=True)
class PVTv2Spec(BackboneSpec):
    """PVTv2-B0, -B2 or -B5; `depths` and `channels` replace the variant's if set.

    Pretrained: timm's pvt_v2_b0.in1k, pvt_v2_b2.in1k, pvt_v2_b5.in1k, or the authors' files, such as
    pvt_v2_b5_22k.pth with which B5 was trained.
    """

    part: ClassVar[str] = "pvt_v2"
    least: ClassVar[dict[str, int]] = {"depths": 1, "channels": 1}

    variant: Literal["b0", "b2", "b5"] = "b2"
    drop_path: float = 0.1
    """Stochastic depth, rising linearly from 0 to this at the last block."""
    depths: tuple[int, int, int, int] | None = None
    channels: tuple[int, int, int, int] | None = None

    def build(self) -> PVTv2:
        channels, depths, ratios = VARIANTS[self.variant]
        backbone = PVTv2(self.channels or channels, self.depths or depths, ratios, self.drop_path)
        if self.weights:
            load_weights(backbone.network, self.weights, _to_timm, unused=("head.",))
        return backbone


class PVTv2(Backbone):
    """Overlapping patches and four stages of attention to spatially reduced keys; LayerNorm on each output.

    Parameters are under "network." by timm's names.
    """

    def __init__(
        self, channels: tuple[int, ...], depths: tuple[int, ...], ratios: tuple[int, ...], drop_path: float
    ) -> None:
        super().__init__()
        self.channels = dict(zip(LEVELS, channels, strict=True))
        self.network = PyramidVisionTransformerV2(
            num_classes=0,
            embed_dims=channels,
            depths=depths,
            mlp_ratios=ratios,
            num_heads=HEADS,
            sr_ratios=REDUCTIONS,
            drop_path_rate=drop_path,
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.network.patch_embed(images)
        features = {}
        for level, stage in zip(LEVELS, self.network.stages, strict=True):
            features[level] = x = stage(x)
        return features

    @staticmethod
    def mmdetection_key(name: str) -> str:
        """The authors' name, e.g. network.stages.1.blocks.0.norm1.bias -> block2.0.norm1.bias."""
        name = name.removeprefix("network.").replace("patch_embed.", "patch_embed1.")
        for pattern, made in (
            (r"stages\.(\d)\.downsample\.", "patch_embed{}."),
            (r"stages\.(\d)\.blocks\.", "block{}."),
            (r"stages\.(\d)\.norm\.", "norm{}."),
        ):
            name = re.sub(pattern, lambda match, made=made: made.format(int(match[1]) + 1), name)
        return name.replace(".dwconv.", ".dwconv.dwconv.")


def _to_timm(name: str) -> str:
    """The inverse of `mmdetection_key`, without "network."; timm's own names stay."""
    name = re.sub(r"^patch_embed1\.", "patch_embed.", name)
    for pattern, made in (
        (r"^patch_embed(\d)\.", "stages.{}.downsample."),
        (r"^block(\d)\.", "stages.{}.blocks."),
        (r"^norm(\d)\.", "stages.{}.norm."),
    ):
        name = re.sub(pattern, lambda match, made=made: made.format(int(match[1]) - 1), name)
    return name.replace(".dwconv.dwconv.", ".dwconv.")

"""ResNets as in detectron2: stride in the 3x3 convolution, no dilation, no stage frozen (He et al. 2016)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from timm.models.resnet import BasicBlock, Bottleneck, downsample_conv
from torch import Tensor, nn

from models.backbones.base import LEVELS, Backbone, BackboneSpec
from models.backbones.weights import load_weights
from models.norm import Norm, norm_layer
from models.spec import SpecError

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


@dataclass(frozen=True, kw_only=True)
class ResNetSpec(BackboneSpec):
    """ResNet-50 and -101, or any other shape by `layers`, `block` and `width`.

    The released configs freeze BatchNorm on ADE20K and COCO, except Mask2Former's R101 on ADE20K, and train
    it on Cityscapes. They start from the weights that timm calls resnet50.tv_in1k and resnet101.tv_in1k.
    """

    part: ClassVar[str] = "resnet"
    least: ClassVar[dict[str, int]] = {
        "layers": 1, "width": 1, "stem": 1, "multi_grid": 1, "frozen_stages": -1,
    }  # fmt: skip

    depth: int = 50
    layers: tuple[int, int, int, int] | None = None
    """Blocks per stage, in place of `depth`."""
    block: Literal["basic", "bottleneck"] = "bottleneck"
    width: int = 64
    """Channels of the stem; stage i has 2**i times as many inside its blocks."""
    stem: tuple[int, int, int] | None = None
    """ResNet-c: channels of three 3x3 convolutions in place of the 7x7; (32, 32, 64) in PFT (mmsegmentation),
    (64, 64, 128) in MaskFormer (detectron2's DeepLab)."""
    multi_grid: tuple[int, ...] | None = None
    """Dilations of the 3x3 convolutions in the blocks of the last stage; (1, 2, 4) in MaskFormer's R101c."""
    norm: Norm = "frozen"
    frozen_stages: int = -1
    """Leading parts whose convolutions do not train: -1 none, 0 the stem, 1 the stem and layer1 (mmdetection
    and DETR, with norm "eval" or "frozen")."""

    def build(self) -> ResNet:
        if self.layers is None and self.depth not in DEPTHS:
            raise SpecError(f"no ResNet-{self.depth}: set depth to 50 or 101, or set layers")
        layers = self.layers or DEPTHS[self.depth]
        if self.multi_grid is not None and len(self.multi_grid) != layers[-1]:
            raise SpecError(
                f"backbone.multi_grid {self.multi_grid} must have {layers[-1]} dilations, one a block"
            )
        backbone = ResNet(layers, self.block, self.width, self.norm, self.stem, self.multi_grid)
        if self.weights:
            load_weights(backbone, self.weights, unused=("fc.",))
        backbone.freeze(self.frozen_stages)
        return backbone


class ResNet(Backbone):
    """Stem (7x7 or three 3x3 convolutions, 3x3 max pooling) and four stages; parameters have timm's names."""

    def __init__(
        self,
        layers: tuple[int, int, int, int],
        block: str,
        width: int,
        norm: Norm,
        stem: tuple[int, int, int] | None = None,
        multi_grid: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        norm_of, cls = norm_layer(norm), BLOCKS[block]
        self.conv1 = _deep_stem(stem, norm_of) if stem else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = norm_of(stem[2] if stem else width)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.channels = {}
        inputs = stem[2] if stem else width
        for stage, (level, count) in enumerate(zip(LEVELS, layers, strict=True)):
            inner, outputs = width * 2**stage, width * 2**stage * cls.expansion
            stride = 1 if stage == 0 else 2
            dilations = multi_grid if multi_grid and stage == 3 else (1,) * count
            blocks = []
            for i, dilation in enumerate(dilations):
                step = stride if i == 0 else 1
                resize = step != 1 or inputs != outputs
                shortcut = downsample_conv(inputs, outputs, 1, step, norm_layer=norm_of) if resize else None
                block_of = partial(cls, dilation=dilation, first_dilation=dilation, norm_layer=norm_of)
                blocks.append(block_of(inputs, inner, stride=step, downsample=shortcut))
                inputs = outputs
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            self.channels[level] = outputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def freeze(self, stages: int) -> None:
        """Takes the gradients from the stem (0) and `stages` stages; -1: from nothing."""
        parts = [self.conv1, self.bn1] if stages >= 0 else []
        for part in (*parts, *(getattr(self, f"layer{stage}") for stage in range(1, stages + 1))):
            part.requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.maxpool(self.act1(self.bn1(self.conv1(images))))
        features = {}
        for stage, level in enumerate(LEVELS):
            features[level] = x = getattr(self, f"layer{stage + 1}")(x)
        return features

    def official_key(self, name: str) -> str:
        """detectron2's name, e.g. layer1.0.bn2.bias -> res2.0.conv2.norm.bias."""
        if not name.startswith("layer"):
            name = f"stem.{name}"
            if isinstance(self.conv1, nn.Sequential):
                name = name.replace("stem.bn1.", "stem.bn3.")
                for at in range(3):  # convolution i is conv1.{3i}, its norm conv1.{3i+1} or, of the last, bn1
                    name = name.replace(f"stem.conv1.{3 * at}.", f"stem.conv{at + 1}.")
                    name = name.replace(f"stem.conv1.{3 * at + 1}.", f"stem.bn{at + 1}.")
        name = re.sub(r"^layer(\d)", lambda match: f"res{int(match[1]) + 1}", name)
        name = name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
        return re.sub(r"\bbn(\d)\.", r"conv\1.norm.", name)


def _deep_stem(channels: tuple[int, int, int], norm_of: Callable[..., nn.Module]) -> nn.Sequential:
    """Three 3x3 convolutions, the first of stride 2, with norm and ReLU between them."""
    first, second, last = channels
    return nn.Sequential(
        nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False),
        norm_of(first),
        nn.ReLU(inplace=True),
        nn.Conv2d(first, second, 3, padding=1, bias=False),
        norm_of(second),
        nn.ReLU(inplace=True),
        nn.Conv2d(second, last, 3, padding=1, bias=False),
    )

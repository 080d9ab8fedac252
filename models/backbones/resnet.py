"""ResNets as in detectron2: stride in the 3x3 convolution, no dilation, no stage frozen (He et al. 2016)."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    least: ClassVar[dict[str, int]] = {"layers": 1, "width": 1}

    depth: int = 50
    layers: tuple[int, int, int, int] | None = None
    """Blocks per stage, in place of `depth`."""
    block: Literal["basic", "bottleneck"] = "bottleneck"
    width: int = 64
    """Channels of the stem; stage i has 2**i times as many inside its blocks."""
    norm: Norm = "frozen"

    def build(self) -> ResNet:
        if self.layers is None and self.depth not in DEPTHS:
            raise SpecError(f"no ResNet-{self.depth}: set depth to 50 or 101, or set layers")
        backbone = ResNet(self.layers or DEPTHS[self.depth], self.block, self.width, self.norm)
        if self.weights:
            load_weights(backbone, self.weights, unused=("fc.",))
        return backbone


class ResNet(Backbone):
    """Stem (7x7 convolution, 3x3 max pooling) and four stages; names of parameters are timm's."""

    def __init__(self, layers: tuple[int, int, int, int], block: str, width: int, norm: Norm) -> None:
        super().__init__()
        norm_of, cls = norm_layer(norm), BLOCKS[block]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm_of(width)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.channels = {}
        inputs = width
        for stage, (level, count) in enumerate(zip(LEVELS, layers, strict=True)):
            inner, outputs = width * 2**stage, width * 2**stage * cls.expansion
            stride = 1 if stage == 0 else 2
            blocks = []
            for i in range(count):
                step = stride if i == 0 else 1
                resize = step != 1 or inputs != outputs
                shortcut = downsample_conv(inputs, outputs, 1, step, norm_layer=norm_of) if resize else None
                blocks.append(cls(inputs, inner, stride=step, downsample=shortcut, norm_layer=norm_of))
                inputs = outputs
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            self.channels[level] = outputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.maxpool(self.act1(self.bn1(self.conv1(images))))
        features = {}
        for stage, level in enumerate(LEVELS):
            features[level] = x = getattr(self, f"layer{stage + 1}")(x)
        return features

    @staticmethod
    def official_key(name: str) -> str:
        """detectron2's name, e.g. layer1.0.bn2.bias -> res2.0.conv2.norm.bias."""
        if not name.startswith("layer"):
            name = f"stem.{name}"
        name = re.sub(r"^layer(\d)", lambda match: f"res{int(match[1]) + 1}", name)
        name = name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
        return re.sub(r"\bbn(\d)\.", r"conv\1.norm.", name)

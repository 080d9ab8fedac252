"""What all backbones share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from models.spec import Spec

LEVELS = ("res2", "res3", "res4", "res5")
"""Names of the feature maps, strides 4, 8, 16, 32."""


class Backbone(nn.Module):
    """Base of backbones.

    Attributes:
        channels: width of each feature map, by its name in `LEVELS`.
    """

    channels: dict[str, int]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images [B, 3, H, W] to maps [B, channels, ceil(H / s), ceil(W / s)] for s = 4, 8, 16, 32."""
        raise NotImplementedError

    @staticmethod
    def official_key(name: str) -> str:
        """The released checkpoints' name of a parameter or buffer of ours, both without "backbone."."""
        return name

    @staticmethod
    def mmdetection_key(name: str) -> str:
        """The name in checkpoints of mmdetection's models (Panoptic SegFormer), both without "backbone."."""
        return name


@dataclass(frozen=True, kw_only=True)
class BackboneSpec(Spec):
    """Base of backbone specs."""

    part: ClassVar[str] = ""

    weights: str | None = None
    """A local file of ImageNet weights in timm's layout (.safetensors, .pth), of Swin and PVTv2 also the
    authors'; None: random. Nothing is downloaded here. `timm.create_model(name, pretrained=True)` fetches a
    network; save its `state_dict()` with `torch.save`."""

    def build(self) -> Backbone:
        """The backbone on the current default device; on `meta`, `weights` are not read.

        Raises:
            CheckpointError: `weights` do not fit the network.
        """
        raise NotImplementedError

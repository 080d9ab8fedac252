"""The Pyramid Fusion Transformer (Qin et al. 2022, "Pyramid Fusion Transformer for Semantic Segmentation").

A backbone and a feature pyramid, then, at three scales of it, a query for each class; the queries tell each
other what they saw, and the logits of the scales are averaged (section III, figure 3). No code was released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from models.backbones import BackboneSpec
from models.decoders.pyramid_fusion import PyramidFusionSpec
from models.images import check_images
from models.inference import InferenceSpec
from models.inference.base import Output
from models.inference.pft import PerClassSpec
from models.losses.pft import PFTLossSpec, PyramidLossSpec
from models.official import OfficialLayout
from models.pixel_decoders import FPNSpec, PixelDecoderSpec
from models.pyramid_output import PyramidOutput
from models.spec import Spec, SpecError


@dataclass(frozen=True, kw_only=True)
class PFTSpec(Spec):
    """Backbone, feature pyramid, pyramid fusion decoder, and the loss it is trained with."""

    part: ClassVar[str] = "pft"
    least: ClassVar[dict[str, int]] = {"num_classes": 1}
    backbone: BackboneSpec
    pixel_decoder: PixelDecoderSpec = field(default_factory=FPNSpec)
    decoder: PyramidFusionSpec = field(default_factory=PyramidFusionSpec)
    loss: PyramidLossSpec = field(default_factory=PFTLossSpec)
    inference: InferenceSpec = field(default_factory=PerClassSpec)
    num_classes: int

    def build(self, device: str | torch.device = "cpu") -> PFT:
        """The model on `device` with freshly initialised weights ("meta": shapes only).

        Raises:
            SpecError: parts that do not fit together.
        """
        with torch.device(device):
            return PFT(self)


PREDICTION_AVERAGE: Mapping[str, Any] = {"loss.average": "predictions", "inference.average": "predictions"}
"""Overrides: average the scales' maps, not their logits (supplement, II-A)."""

BIPARTITE: Mapping[str, Any] = {
    "decoder.predictions": "set",
    "loss": "pft_bipartite_loss",
    "inference": "mask_classification",
}
"""Overrides: match queries with segments as MaskFormer does (supplement, II-B)."""


class PFT(nn.Module):
    """Images to a class and a mask logit of every class.

    The papers' FLOP count is of an eval forward up to the class logits and the mask logits of every scale of
    the last layer: of `output.class_logits` and `[scale.mask_logits for scale in output.scales]`.

    Attributes:
        spec: what it was built from.
        inference: what turns its output into results.
        size_divisor: height and width of its images must be multiples of this.
        official: no code and no weights were released.
    """

    official: ClassVar[tuple[OfficialLayout, ...]] = ()
    size_divisor: ClassVar[int] = 32

    def __init__(self, spec: PFTSpec) -> None:
        super().__init__()
        spec.pixel_decoder.check_decoder(spec.decoder.dim)
        queries, loss = spec.decoder.predictions, spec.loss
        if queries.assignment != loss.assignment:
            raise SpecError(
                f"decoder.predictions {queries.part!r} has {queries.assignment} assignment, "
                f"loss {loss.part!r} {loss.assignment}"
            )
        output: Output = "per_class" if queries.assignment == "fixed" else "set"
        self.spec, self.inference = spec, spec.inference.build_for(output)
        strides = sorted(spec.decoder.strides, reverse=True)
        self.backbone = spec.backbone.build()
        self.pixel_decoder = spec.pixel_decoder.build(self.backbone.channels, strides, strides)
        self.decoder = spec.decoder.build(spec.pixel_decoder.mask_dim, spec.num_classes)

    def forward(self, images: torch.Tensor) -> PyramidOutput:
        """Normalised images [B, 3, H, W] to class logits [B, K] and mask logits [B, K, H / 4, W / 4].

        Raises:
            ValueError: images of another kind, or H or W is not a multiple of 32
            (`models.inference.pad_to_multiple` pads).
        """
        check_images(images, self.size_divisor)
        pixels = self.pixel_decoder(self.backbone(images))
        return self.decoder(pixels.features, pixels.positions, pixels.mask_features)

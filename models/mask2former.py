"""Mask2Former (Cheng et al., 2022): the assembly, its spec, and the names of its released checkpoints.

A backbone gives features at four strides, a pixel decoder refines them, and queries in a transformer decoder
each predict a class and a mask (section 3). FASeg is the same assembly with other parts: see `faseg.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.backbones import BackboneSpec
from models.decoders import DecoderSpec
from models.detectron2 import PIXELS, PREDICTOR, detectron2_layout
from models.huggingface.mask2former import HUGGINGFACE
from models.images import check_images
from models.inference import InferenceSpec, MaskClassificationSpec
from models.losses import MaskLossSpec
from models.official import OfficialLayout
from models.outputs import SegmentationOutput
from models.pixel_decoders import MSDeformAttnSpec, PixelDecoderSpec
from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Mask2FormerSpec(Spec):
    """Backbone, pixel decoder, transformer decoder, and the loss it is trained with."""

    part: ClassVar[str] = "mask2former"
    least: ClassVar[dict[str, int]] = {"num_classes": 1}
    backbone: BackboneSpec
    pixel_decoder: PixelDecoderSpec = field(default_factory=MSDeformAttnSpec)
    decoder: DecoderSpec = field(default_factory=DecoderSpec)
    loss: MaskLossSpec = field(default_factory=MaskLossSpec)
    inference: InferenceSpec = field(default_factory=MaskClassificationSpec)
    num_classes: int

    def build(self, device: str | torch.device = "cpu") -> Mask2Former:
        """The model on `device` with freshly initialised weights ("meta": shapes only).

        Raises:
            SpecError: parts that do not fit together.
        """
        with torch.device(device):
            return Mask2Former(self)


class Mask2Former(nn.Module):
    """Images to classes and masks of each query.

    Attributes:
        spec: what it was built from.
        inference: what turns its output into results.
        size_divisor: height and width of its images must be multiples of this.
    """

    official: ClassVar[tuple[OfficialLayout, ...]]
    size_divisor: ClassVar[int] = 32

    def __init__(self, spec: Mask2FormerSpec) -> None:
        super().__init__()
        spec.pixel_decoder.check_decoder(spec.decoder.dim)
        self.spec, self.inference = spec, spec.inference.build_for("set")
        strides = spec.decoder.strides
        self.backbone = spec.backbone.build()
        self.pixel_decoder = spec.pixel_decoder.build(
            self.backbone.channels, strides, strides if spec.decoder.positions is None else ()
        )
        self.decoder = spec.decoder.build(spec.pixel_decoder.mask_dim, spec.num_classes)

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Normalised images [B, 3, H, W] to class logits [B, Q, K + 1] and mask logits [B, Q, H / 4, W / 4].

        Raises:
            ValueError: images of another kind, or H or W is not a multiple of 32
            (`models.inference.pad_to_multiple` pads).
        """
        check_images(images, self.size_divisor)
        pixels = self.pixel_decoder(self.backbone(images))
        return self.decoder(pixels.features, pixels.positions, pixels.mask_features)


_ENCODER_LAYER = r"pixel_decoder\.encoder\.layers\.(\d+)\."
_BLOCK = r"decoder\.blocks\.(\d+)\."
_STRIDES = (32, 16, 8, 4)  # the released code numbers levels in this order

_RULES = (
    *(
        (rf"pixel_decoder\.projections\.{s}\.(.+)", rf"{PIXELS}input_proj.{i}.\1")
        for i, s in enumerate(_STRIDES)
    ),
    *(
        (rf"pixel_decoder\.positions\.convolutions\.{s}\.(.+)", rf"{PIXELS}pos_linear.{i}.\1")
        for i, s in enumerate(_STRIDES)
    ),
    (r"pixel_decoder\.encoder\.level_embedding", f"{PIXELS}transformer.level_embed"),
    *(
        (
            rf"{_ENCODER_LAYER}attention\.{ours}\.(.+)",
            rf"{PIXELS}transformer.encoder.layers.\1.self_attn.{theirs}.\2",
        )
        for ours, theirs in (
            ("sampling_offsets", "sampling_offsets"),
            ("attention_weights", "attention_weights"),
            ("value_projection", "value_proj"),
            ("output_projection", "output_proj"),
        )
    ),
    (rf"{_ENCODER_LAYER}((?:norm|linear)\d\..+)", rf"{PIXELS}transformer.encoder.layers.\1.\2"),
    (r"pixel_decoder\.lateral\.0\.(.+)", rf"{PIXELS}adapter_1.\1"),
    (r"pixel_decoder\.lateral\.1\.(.+)", rf"{PIXELS}adapter_1.norm.\1"),
    (r"pixel_decoder\.output\.0\.(.+)", rf"{PIXELS}layer_1.\1"),
    (r"pixel_decoder\.output\.1\.(.+)", rf"{PIXELS}layer_1.norm.\1"),
    (r"pixel_decoder\.mask_features\.(.+)", rf"{PIXELS}mask_features.\1"),
    (r"decoder\.content\.weight", f"{PREDICTOR}query_feat.weight"),
    (r"decoder\.queries\.embedding\.weight", f"{PREDICTOR}query_embed.weight"),
    (r"decoder\.queries\.project\.(.+)", rf"{PREDICTOR}adapt_pos2d.\1"),
    (r"decoder\.level_embedding\.weight", f"{PREDICTOR}level_embed.weight"),
    (
        rf"{_BLOCK}cross\.attention\.(.+)",
        rf"{PREDICTOR}transformer_cross_attention_layers.\1.multihead_attn.\2",
    ),
    (rf"{_BLOCK}cross\.norm\.(.+)", rf"{PREDICTOR}transformer_cross_attention_layers.\1.norm.\2"),
    (
        rf"{_BLOCK}self_attention\.attention\.(.+)",
        rf"{PREDICTOR}transformer_self_attention_layers.\1.self_attn.\2",
    ),
    (rf"{_BLOCK}self_attention\.norm\.(.+)", rf"{PREDICTOR}transformer_self_attention_layers.\1.norm.\2"),
    (rf"{_BLOCK}feed_forward\.(.+)", rf"{PREDICTOR}transformer_ffn_layers.\1.\2"),
    (r"decoder\.head\.norm\.(.+)", rf"{PREDICTOR}decoder_norm.\1"),
    (r"decoder\.head\.classes\.(.+)", rf"{PREDICTOR}class_embed.\1"),
    (r"decoder\.head\.mask_embedding\.(.+)", rf"{PREDICTOR}mask_embed.\1"),
)


RELEASED = detectron2_layout(_RULES)
Mask2Former.official = (RELEASED, HUGGINGFACE)

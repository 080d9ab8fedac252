"""MaskFormer (Cheng et al., 2021): the assembly, its spec, and the names of its released checkpoints.

A pixel decoder makes per-pixel embeddings, DETR's decoder turns queries into classes and mask embeddings, and
a mask is the product of both (section 3.3). PFT's variants of it (its Table I) differ in what the decoder
attends to and in its width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.backbones import BackboneSpec
from models.decoders import TransformerDecoderSpec
from models.detectron2 import PIXELS, PREDICTOR, detectron2_layout
from models.heads import MaskHead
from models.huggingface.maskformer import HUGGINGFACE
from models.images import check_images
from models.inference import InferenceSpec, MaskClassificationSpec
from models.losses import MaskLossSpec, maskformer_loss
from models.official import OfficialLayout
from models.outputs import SegmentationOutput
from models.pixel_decoders import FPNSpec, PixelDecoderSpec
from models.pixel_decoders.fpn import convolution
from models.positions import SinusoidalPositions
from models.spec import Spec, SpecError

PYRAMID = {f"p{stride}": stride for stride in (4, 8, 16, 32)}
ENCODED = "encoder"


@dataclass(frozen=True, kw_only=True)
class MaskFormerSpec(Spec):
    """Backbone, pixel decoder, transformer decoder, and the loss it is trained with."""

    part: ClassVar[str] = "maskformer"
    least: ClassVar[dict[str, int]] = {"num_classes": 1, "size_divisor": 1}
    backbone: BackboneSpec
    pixel_decoder: PixelDecoderSpec = field(default_factory=FPNSpec)
    memory: tuple[str, ...] = ("res5",)
    """What the queries attend to: feature maps of the backbone ("res2" to "res5") or of the pixel decoder
    ("p4" to "p32"), or the output of its encoder ("encoder"); of several, the pixels of all."""
    decoder: TransformerDecoderSpec = field(default_factory=TransformerDecoderSpec)
    loss: MaskLossSpec = field(default_factory=maskformer_loss)
    inference: InferenceSpec = field(
        default_factory=lambda: MaskClassificationSpec(
            object_threshold=0.0, overlap_threshold=0.0, pixels="won"
        )
    )
    num_classes: int
    size_divisor: int = 32
    """Images are padded to multiples of this: 32, but 1 on COCO, in the released configurations."""

    def build(self, device: str | torch.device = "cpu") -> MaskFormer:
        """The model on `device` with freshly initialised weights ("meta": shapes only).

        Raises:
            SpecError: parts that do not fit together.
        """
        with torch.device(device):
            return MaskFormer(self)


class MaskFormer(nn.Module):
    """Images to classes and masks of each query.

    Attributes:
        spec: what it was built from.
        inference: what turns its output into results.
        size_divisor: images are padded to multiples of this; any size is accepted.
    """

    official: ClassVar[tuple[OfficialLayout, ...]]

    def __init__(self, spec: MaskFormerSpec) -> None:
        super().__init__()
        self.spec, self.inference, self.size_divisor = (
            spec,
            spec.inference.build_for("set"),
            spec.size_divisor,
        )
        strides = [PYRAMID[name] for name in spec.memory if name in PYRAMID]
        self.backbone = spec.backbone.build()
        self.pixel_decoder = spec.pixel_decoder.build(self.backbone.channels, strides, ())
        self.decoder = MaskFormerDecoder(spec, self._memory_channels())

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Normalised images [B, 3, H, W] to class logits [B, Q, K + 1] and mask logits [B, Q, H / 4, W / 4].

        The auxiliary outputs are those of the earlier layers.

        Raises:
            ValueError: images of another kind.
        """
        check_images(images)
        features = self.backbone(images)
        pixels = self.pixel_decoder(features)
        maps = dict(features)
        for name in self.spec.memory:
            if name in PYRAMID:
                maps[name] = pixels.features[PYRAMID[name]]
            elif name == ENCODED:
                maps[name] = pixels.encoded
        return self.decoder(maps, pixels.mask_features)

    def _memory_channels(self) -> dict[str, int]:
        pixels = self.spec.pixel_decoder
        known = {**self.backbone.channels, **dict.fromkeys(PYRAMID, pixels.dim)}
        if getattr(pixels, "encoder", None) is not None:
            known[ENCODED] = pixels.dim
        if unknown := [name for name in self.spec.memory if name not in known]:
            raise SpecError(f"memory: no feature map {', '.join(unknown)}; choose from {', '.join(known)}")
        if not self.spec.memory:
            raise SpecError(f"memory is empty; choose from {', '.join(known)}")
        return {name: known[name] for name in self.spec.memory}


class MaskFormerDecoder(nn.Module):
    """Projections of the memory, DETR's decoder, a head for every layer's output.

    The encoder's output is not projected if it has the decoder's width.
    """

    def __init__(self, spec: MaskFormerSpec, channels: Mapping[str, int]) -> None:
        super().__init__()
        dim = spec.decoder.dim
        self.memory: Sequence[str] = spec.memory
        self.projections = nn.ModuleDict(
            {
                name: convolution(width, dim, 1)
                for name, width in channels.items()
                if name != ENCODED or width != dim
            }
        )
        self.positions = SinusoidalPositions(dim)
        self.transformer = spec.decoder.build()
        self.head = MaskHead(dim, spec.pixel_decoder.mask_dim, spec.num_classes, norm=False)

    def forward(self, maps: Mapping[str, Tensor], mask_features: Tensor) -> SegmentationOutput:
        """Maps [B, C_i, H_i, W_i] by name and mask features [B, C_m, h, w] to predictions."""
        tokens, positions = [], []
        for name in self.memory:
            feature = self.projections[name](maps[name]) if name in self.projections else maps[name]
            tokens.append(feature.flatten(2).transpose(1, 2))
            positions.append(self.positions(feature).flatten(2).transpose(1, 2))
        queries = self.transformer(torch.cat(tokens, dim=1), torch.cat(positions, dim=1))
        outputs = [self.head(layer, mask_features) for layer in queries]
        return SegmentationOutput(outputs[-1].class_logits, outputs[-1].mask_logits, outputs[:-1])


_LAYER = r"layers\.(\d+)\."
_ENCODER = PIXELS + "transformer.encoder."
_DECODER = PREDICTOR + "transformer.decoder."


def _layer_rules(ours: str, theirs: str, parts: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        (ours + _LAYER + mine + r"(.+)", rf"{theirs}layers.\1.{other}\2") for mine, other in parts.items()
    ]


_RULES = (
    *((rf"pixel_decoder\.lateral\.{2**i * 2}\.0\.(.+)", rf"{PIXELS}adapter_{i}.\1") for i in (1, 2, 3)),
    *((rf"pixel_decoder\.lateral\.{2**i * 2}\.1\.(.+)", rf"{PIXELS}adapter_{i}.norm.\1") for i in (1, 2, 3)),
    *((rf"pixel_decoder\.output\.{2**i * 2}\.0\.(.+)", rf"{PIXELS}layer_{i}.\1") for i in (1, 2, 3, 4)),
    *((rf"pixel_decoder\.output\.{2**i * 2}\.1\.(.+)", rf"{PIXELS}layer_{i}.norm.\1") for i in (1, 2, 3, 4)),
    (r"pixel_decoder\.mask_features\.(.+)", rf"{PIXELS}mask_features.\1"),
    (r"pixel_decoder\.encoder\.project\.(.+)", rf"{PIXELS}input_proj.\1"),
    *_layer_rules(
        r"pixel_decoder\.encoder\.transformer\.",
        _ENCODER,
        {
            r"self_attention\.attention\.": "self_attn.",
            r"self_attention\.norm\.": "norm1.",
            r"feed_forward\.norm\.": "norm2.",
            r"feed_forward\.": "",
        },
    ),
    (r"decoder\.projections\.res5\.(.+)", rf"{PREDICTOR}input_proj.\1"),
    (r"decoder\.transformer\.query_positions\.weight", f"{PREDICTOR}query_embed.weight"),
    (r"decoder\.transformer\.norm\.(.+)", rf"{_DECODER}norm.\1"),
    *_layer_rules(
        r"decoder\.transformer\.",
        _DECODER,
        {
            r"self_attention\.attention\.": "self_attn.",
            r"self_attention\.norm\.": "norm1.",
            r"cross\.attention\.": "multihead_attn.",
            r"cross\.norm\.": "norm2.",
            r"feed_forward\.norm\.": "norm3.",
            r"feed_forward\.": "",
        },
    ),
    (r"decoder\.head\.classes\.(.+)", rf"{PREDICTOR}class_embed.\1"),
    (r"decoder\.head\.mask_embedding\.(.+)", rf"{PREDICTOR}mask_embed.\1"),
)

RELEASED = detectron2_layout(_RULES)
MaskFormer.official = (RELEASED, HUGGINGFACE)

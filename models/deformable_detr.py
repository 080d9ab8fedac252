"""Deformable DETR (Zhu et al., 2021) with DETR's mask head, which Panoptic SegFormer compares itself with.

The panoptic model has no released code; Panoptic SegFormer (appendix A.2) describes it. A deformable encoder
refines the backbone's levels, queries are located with boxes that each layer refines, and DETR's mask head
takes their attention over the encoded stride-32 level only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from models.backbones import BackboneSpec
from models.decoders.location import LocationDecoderSpec
from models.deformable_encoder import DeformableEncoderSpec, LevelProjections, unflatten
from models.huggingface.deformable_detr import HUGGINGFACE, RELEASED
from models.images import check_images
from models.inference import InferenceSpec
from models.inference.detr import DETRInferenceSpec
from models.losses.detr import DETRLossSpec
from models.official import OfficialLayout
from models.outputs import BoxOutput
from models.padding import padding_mask, shrink
from models.panoptic_head import PanopticHeadSpec
from models.positions import SinusoidalPositions
from models.spec import Spec, SpecError

MASKED = "res5"  # the level whose encoding the mask head attends to

SINGLE_SCALE: Mapping[str, Any] = {"inputs": (MASKED,), "levels": 1}
"""From the multi-scale model to the single-scale one ("SS", Panoptic SegFormer, Table B.1)."""


@dataclass(frozen=True, kw_only=True)
class DeformableDETRSpec(Spec):
    """Backbone, encoder, decoder, mask head (None: boxes only), and the loss they are trained with.

    The mask head stops at 1/8: the printed FLOPs fit that, not 1/4 (a detector of mmdetection has no stride-4
    features).
    """

    part: ClassVar[str] = "deformable_detr"
    least: ClassVar[dict[str, int]] = {"dim": 1, "levels": 1, "num_classes": 1}
    backbone: BackboneSpec
    dim: int = 256
    inputs: tuple[str, ...] = ("res3", "res4", "res5")
    """The backbone's features that are encoded, fine to coarse."""
    levels: int = 4
    """Encoded levels; those beyond the inputs come from convolutions of stride 2."""
    projection_bias: bool = False
    """Whether the convolutions before the encoder have a bias: in the authors' detector they have, in
    mmdetection's, which Panoptic SegFormer built on, they have not."""
    encoder: DeformableEncoderSpec = field(default_factory=DeformableEncoderSpec)
    decoder: LocationDecoderSpec = field(default_factory=LocationDecoderSpec)
    mask_head: PanopticHeadSpec | None = field(
        default_factory=lambda: PanopticHeadSpec(levels=("res4", "res3"))
    )
    loss: DETRLossSpec = field(default_factory=lambda: DETRLossSpec(classes="focal", class_weight=2.0))
    inference: InferenceSpec = field(default_factory=lambda: DETRInferenceSpec(threshold=0.5))
    """DETR's; no source gives a threshold for sigmoid scores, 0.5 is ours."""
    num_classes: int
    train: Literal["all", "mask_head"] = "all"
    """What is trained: boxes and masks jointly, or the mask head alone, after a training without it."""

    def build(self, device: str | torch.device = "cpu") -> DeformableDETR:
        """The model on `device` with freshly initialised weights ("meta": shapes only).

        Raises:
            SpecError: parts that do not fit together.
        """
        if self.decoder.layers < 1 or self.decoder.predicts != "boxes":
            raise SpecError("Deformable DETR needs a decoder of 1 layer or more that predicts boxes")
        if self.mask_head is not None and MASKED not in self.inputs:
            raise SpecError(f"the mask head needs {MASKED!r} among the inputs")
        if self.mask_head is None and self.train == "mask_head":
            raise SpecError("train = 'mask_head', but mask_head is None")
        with torch.device(device):
            return DeformableDETR(self)


class DeformableDETR(nn.Module):
    """Images to a class, a box and a mask of each query.

    Attributes:
        spec: what it was built from.
        inference: what turns its output into results.
        size_divisor: height and width of its images must be multiples of this.
    """

    official: ClassVar[tuple[OfficialLayout, ...]] = (RELEASED, HUGGINGFACE)
    size_divisor: ClassVar[int] = 1

    def __init__(self, spec: DeformableDETRSpec) -> None:
        super().__init__()
        self.spec, self.inference = spec, spec.inference.build_for("boxes")
        self.backbone = spec.backbone.build()
        if unknown := [name for name in spec.inputs if name not in self.backbone.channels]:
            raise SpecError(f"inputs {unknown}: the backbone has {', '.join(self.backbone.channels)}")
        channels = [self.backbone.channels[name] for name in spec.inputs]
        self.projections = LevelProjections(channels, spec.dim, spec.levels, bias=spec.projection_bias)
        self.positions = SinusoidalPositions(spec.dim, offset=-0.5)
        self.encoder = spec.encoder.build(spec.dim, spec.levels)
        self.decoder = spec.decoder.build(spec.dim, spec.levels, spec.num_classes)
        if spec.train == "mask_head":
            self.requires_grad_(False)
        self.mask_head = None
        if spec.mask_head is not None:
            self.mask_head = spec.mask_head.build(spec.dim, self.backbone.channels)

    def forward(self, images: Tensor, sizes: Sequence[tuple[int, int]] | None = None) -> BoxOutput:
        """Classes, boxes and masks of the last decoder layer, with classes and boxes of the others.

        Args:
            images: normalised, [B, 3, H, W].
            sizes: (height, width) of each image where the batch is padded, at the right and the bottom;
                None: all of it is image.

        Returns:
            Class logits [B, Q, K] for one sigmoid a class, boxes [B, Q, 4] in [0, 1] of the image, and mask
            logits [B, Q, h, w] at the finest level of the mask head (1/8), of the padded batch.

        Raises:
            ValueError: images of another kind, or sizes that do not fit them.
        """
        check_images(images)
        features = self.backbone(images)
        levels = self.projections([features[name] for name in self.spec.inputs])
        padding: list[Tensor] | None = None
        if sizes is not None:
            whole = padding_mask(sizes, images)
            padding = [shrink(whole, (level.shape[2], level.shape[3])) for level in levels]
        masks = padding or [None] * len(levels)
        positions = [self.positions(level, padding=mask) for level, mask in zip(levels, masks, strict=True)]
        memory, pyramid = self.encoder(levels, positions, padding)
        located = self.decoder(memory, pyramid)
        outputs = [
            BoxOutput(
                class_logits=prediction.class_logits,
                mask_logits=None,  # type: ignore[arg-type]
                boxes=prediction.boxes,
                sigmoid=True,
            )
            for prediction in located.predictions
        ]
        if self.mask_head is not None:
            index = self.spec.inputs.index(MASKED)
            encoded = unflatten(memory, pyramid.shapes)[index]
            outputs[-1].mask_logits = self.mask_head(
                located.queries, encoded, levels[index], features, masks[index]
            )
        outputs[-1].auxiliary = outputs[:-1]
        return outputs[-1]

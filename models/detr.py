"""DETR (Carion et al., 2020) for panoptic segmentation: the assembly, its spec, the names of its checkpoints.

A transformer encodes the backbone's last features and decodes queries, each of which predicts a class and a
box (section 3.2); a convolutional head turns their attention into masks (section 4.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.backbones import BackboneSpec
from models.decoders import TransformerDecoderSpec, TransformerEncoderSpec
from models.deformable_encoder import tokens
from models.heads import MLP
from models.huggingface.detr import HUGGINGFACE
from models.images import check_images
from models.inference import InferenceSpec
from models.inference.detr import DETRInferenceSpec
from models.losses.detr import DETRLossSpec
from models.official import OfficialLayout, rename
from models.outputs import BoxOutput
from models.padding import padding_mask, shrink
from models.panoptic_head import NAMES, PanopticHeadSpec
from models.positions import SinusoidalPositions
from models.precision import full_precision
from models.spec import Spec, SpecError

LEVEL = "res5"  # what the transformer encodes


@dataclass(frozen=True, kw_only=True)
class DETRSpec(Spec):
    """Backbone, transformer, mask head (None: boxes only), and the loss they are trained with."""

    part: ClassVar[str] = "detr"
    least: ClassVar[dict[str, int]] = {"num_classes": 1, "columns": 1}
    backbone: BackboneSpec
    encoder: TransformerEncoderSpec = field(default_factory=TransformerEncoderSpec)
    decoder: TransformerDecoderSpec = field(default_factory=TransformerDecoderSpec)
    mask_head: PanopticHeadSpec | None = field(default_factory=PanopticHeadSpec)
    loss: DETRLossSpec = field(default_factory=DETRLossSpec)
    inference: InferenceSpec = field(default_factory=DETRInferenceSpec)
    num_classes: int
    columns: int | None = None
    """Width of the classifier beside "no object"; None: `num_classes`."""
    class_ids: tuple[int, ...] | None = None
    """The classifier's column of each class, of `num_classes` or more; None: column k is class k."""
    train: Literal["all", "mask_head"] = "all"
    """What is trained: boxes and masks jointly ("all"), or, after a training of boxes alone (`mask_head`
    None), the mask head with the rest fixed ("mask_head"). The paper (section 4.4) found them alike."""

    def build(self, device: str | torch.device = "cpu") -> DETR:
        """The model on `device` with freshly initialised weights ("meta": shapes only).

        Raises:
            SpecError: parts that do not fit together.
        """
        with torch.device(device):
            return DETR(self)

    def ids(self) -> tuple[int, ...] | None:
        """The columns of the K classes.

        Raises:
            SpecError: fewer of them than classes, or a column that the classifier does not have.
        """
        if self.class_ids is None:
            if self.columns not in (None, self.num_classes):
                raise SpecError(
                    f"columns = {self.columns} for {self.num_classes} classes: class_ids must say which"
                )
            return None
        ids, columns = self.class_ids[: self.num_classes], self.columns or self.num_classes
        if len(ids) < self.num_classes:
            raise SpecError(f"{len(ids)} class_ids for num_classes = {self.num_classes}")
        if min(ids) < 0 or max(ids) >= columns or len(set(ids)) < len(ids):
            raise SpecError(f"class_ids must be different columns below {columns}")
        return ids


class DETR(nn.Module):
    """Images to a class, a box and a mask of each query.

    Attributes:
        spec: what it was built from.
        inference: what turns its output into results.
        size_divisor: height and width of its images must be multiples of this.
        class_ids: [K] int64, the column of each class, or None.
    """

    official: ClassVar[tuple[OfficialLayout, ...]]
    size_divisor: ClassVar[int] = 1
    class_ids: Tensor | None

    def __init__(self, spec: DETRSpec) -> None:
        super().__init__()
        self.spec, self.inference = spec, spec.inference.build_for("boxes")
        dim, ids = spec.decoder.dim, spec.ids()
        self.backbone = spec.backbone.build()
        self.projection = nn.Conv2d(self.backbone.channels[LEVEL], dim, 1)
        self.positions = SinusoidalPositions(dim)
        self.encoder, self.decoder = spec.encoder.build(dim), spec.decoder.build()
        self.classes = nn.Linear(dim, (spec.columns or spec.num_classes) + 1)
        self.box = MLP(dim, dim, 4, 3)
        self.register_buffer("class_ids", None if ids is None else torch.tensor(ids), persistent=False)
        if spec.train == "mask_head":
            self.requires_grad_(False)
        self.mask_head = None
        if spec.mask_head is not None:
            self.mask_head = spec.mask_head.build(dim, self.backbone.channels)
        elif spec.train == "mask_head":
            raise SpecError("train = 'mask_head', but mask_head is None")

    def forward(self, images: Tensor, sizes: Sequence[tuple[int, int]] | None = None) -> BoxOutput:
        """Classes, boxes and masks of the last decoder layer, with classes and boxes of the others.

        Args:
            images: normalised, [B, 3, H, W].
            sizes: (height, width) of each image where the batch is padded, at the right and the bottom;
                None: all of it is image.

        Returns:
            Class logits [B, Q, columns + 1], boxes [B, Q, 4] in [0, 1] of the image, and mask logits
            [B, Q, h, w] at the finest level of the mask head (1/4), of the padded batch.

        Raises:
            ValueError: images of another kind, or sizes that do not fit them.
        """
        check_images(images)
        features = self.backbone(images)
        projected = self.projection(features[LEVEL])
        shape = projected.shape[-2:]
        padding = None if sizes is None else shrink(padding_mask(sizes, images), shape)
        positions = tokens(self.positions(projected, padding=padding))
        hidden = None if padding is None else padding.flatten(1)
        memory = self.encoder(tokens(projected), positions, hidden)
        layers = self.decoder(memory, positions, hidden)
        outputs = [self._predict(queries) for queries in layers]
        if self.mask_head is not None:
            encoded = memory.transpose(1, 2).unflatten(2, shape)
            outputs[-1].mask_logits = self.mask_head(layers[-1], encoded, projected, features, padding)
        outputs[-1].auxiliary = outputs[:-1]
        return outputs[-1]

    def _predict(self, queries: Tensor) -> BoxOutput:
        """Of [B, Q, C]."""
        return BoxOutput(
            class_logits=self.classes(queries),
            mask_logits=None,  # type: ignore[arg-type]
            boxes=full_precision(self.box(queries)).sigmoid(),
            class_ids=self.class_ids,
        )


_LAYER = r"(encoder|decoder)\.layers\.(\d+)\."
_THEIR_LAYER = r"transformer.\1.layers.\2."
_ENCODER_NORMS = {"self_attention": "norm1", "feed_forward": "norm2"}
_DECODER_NORMS = {"self_attention": "norm1", "cross": "norm2", "feed_forward": "norm3"}

_RULES = (
    *(
        (rf"{kind}\.layers\.(\d+)\.{part}\.norm\.(.+)", rf"transformer.{kind}.layers.\1.{norm}.\2")
        for kind, norms in (("encoder", _ENCODER_NORMS), ("decoder", _DECODER_NORMS))
        for part, norm in norms.items()
    ),
    (rf"{_LAYER}self_attention\.attention\.(.+)", rf"{_THEIR_LAYER}self_attn.\3"),
    (rf"{_LAYER}cross\.attention\.(.+)", rf"{_THEIR_LAYER}multihead_attn.\3"),
    (rf"{_LAYER}feed_forward\.(linear\d\..+)", rf"{_THEIR_LAYER}\3"),
    (r"decoder\.norm\.(.+)", r"transformer.decoder.norm.\1"),
    (r"decoder\.query_positions\.weight", "query_embed.weight"),
    (r"backbone\.(.+)", r"backbone.0.body.\1"),
    (r"projection\.(.+)", r"input_proj.\1"),
    (r"classes\.(.+)", r"class_embed.\1"),
    (r"box\.(.+)", r"bbox_embed.\1"),
)
"""Names in the released DETR; the backbone's are torchvision's, which are also ours."""


def _official_names(model: nn.Module) -> dict[str, str]:
    """With a mask head the detector's names have a prefix, without they have none."""
    prefix = "" if model.mask_head is None else "detr."
    detector = [(pattern, prefix + name) for pattern, name in _RULES]
    return rename(model.state_dict(), [*NAMES, *detector])


RELEASED = OfficialLayout(names=_official_names)
DETR.official = (RELEASED, HUGGINGFACE)

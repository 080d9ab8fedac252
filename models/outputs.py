"""What segmentation models return and what they are trained against."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class SegmentationOutput:
    """Predictions of a mask-classification model.

    Attributes:
        class_logits: [B, Q, K + 1], the last class is "no object".
        mask_logits: [B, Q, h, w], at the largest predicted resolution (1/4 of the padded input), not
        upsampled.
        auxiliary: the same of the earlier prediction heads, earliest first; theirs is empty.
    """

    class_logits: Tensor
    mask_logits: Tensor
    auxiliary: list[SegmentationOutput] = field(default_factory=list)


@dataclass
class BoxOutput(SegmentationOutput):
    """Of models that also predict a box for each query (DETR and Deformable DETR).

    Their auxiliary outputs, and all outputs of a model without a mask head, have `mask_logits` None.

    Attributes:
        boxes: [B, Q, 4], (centre x, centre y, width, height) in [0, 1] of the image.
        class_ids: [K] int64, the column of `class_logits` of each class, where a model numbers its columns
            otherwise (DETR on COCO panoptic); None: column k is class k.
        sigmoid: one sigmoid a class [B, Q, K] without "no object", not a softmax over [B, Q, K + 1].
    """

    boxes: Tensor = None  # type: ignore[assignment]
    class_ids: Tensor | None = None
    sigmoid: bool = False

    def probabilities(self) -> Tensor:
        """[B, Q, K]: of each class; columns that stand for no class are left out."""
        scores = self.class_logits.sigmoid() if self.sigmoid else self.class_logits.softmax(-1)[..., :-1]
        return scores if self.class_ids is None else scores[..., self.class_ids]

    def best(self) -> tuple[Tensor, Tensor]:
        """Of each query the highest probability [B, Q] and its class [B, Q], -1 where that is none."""
        if self.sigmoid:
            return self.probabilities().max(-1)
        scores, columns = self.class_logits.softmax(-1).max(-1)
        width = self.class_logits.shape[-1]
        known = torch.arange(width - 1, device=columns.device) if self.class_ids is None else self.class_ids
        classes = torch.full((width,), -1, dtype=torch.int64, device=columns.device)
        classes[known] = torch.arange(len(known), device=columns.device)
        return scores, classes[columns]


torch.export.register_dataclass(SegmentationOutput)  # so that whole models can be exported
torch.export.register_dataclass(BoxOutput)


@dataclass
class MaskTarget:
    """The segments of one image.

    Attributes:
        labels: [N] int64 class of each segment, 0 <= label < K.
        masks: [N, H, W] bool or uint8, at the size of the padded batch. N may be 0.
        boxes: [N, 4] float (centre x, centre y, width, height) in [0, 1] of the image, or None: the boxes
            around the masks.
    """

    labels: Tensor
    masks: Tensor
    boxes: Tensor | None = None

    def to(self, device: object, non_blocking: bool = False) -> MaskTarget:
        """A copy on another device."""
        return MaskTarget(
            self.labels.to(device, non_blocking=non_blocking),  # type: ignore[call-overload]
            self.masks.to(device, non_blocking=non_blocking),  # type: ignore[call-overload]
            None if self.boxes is None else self.boxes.to(device, non_blocking=non_blocking),  # type: ignore[call-overload]
        )

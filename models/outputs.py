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

    Attributes:
        boxes: [B, Q, 4], (centre x, centre y, width, height) in [0, 1] of the image.
    """

    boxes: Tensor = None  # type: ignore[assignment]


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

"""Bipartite matching by class and box (DETR, section 3.1, eq. 1; Deformable DETR, appendix A.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, generalized_box_iou, masks_to_boxes, sigmoid_focal_loss

from models.matching.base import Match, assign
from models.outputs import MaskTarget
from models.precision import autocast_disabled

ClassCost = Literal["focal", "softmax"]


class BoxMatcher(nn.Module):
    """Cheapest one-to-one assignment of queries to targets, image by image.

    cost = class_weight * class cost + l1_weight * |b - t|_1 - giou_weight * GIoU(b, t), boxes as (centre x,
    centre y, width, height) in [0, 1]. The class cost is

    - "softmax": -p(class), DETR's; the logits include "no object";
    - "focal": focal loss of the class as a positive minus as a negative (alpha 0.25, gamma 2), Deformable
      DETR's; one sigmoid a class.
    """

    def __init__(
        self,
        class_cost: ClassCost = "focal",
        class_weight: float = 2.0,
        l1_weight: float = 5.0,
        giou_weight: float = 2.0,
    ) -> None:
        super().__init__()
        self.class_cost: ClassCost = class_cost
        self.class_weight, self.l1_weight, self.giou_weight = class_weight, l1_weight, giou_weight

    @torch.no_grad()
    def forward(
        self,
        class_logits: Tensor,
        boxes: Tensor,
        targets: Sequence[MaskTarget],
        name: str = "output",
        mask_logits: Tensor | None = None,
    ) -> list[Match]:
        """Matches each image of the batch.

        Args:
            class_logits: [B, Q, K] ("focal") or [B, Q, K+1] ("softmax").
            boxes: [B, Q, 4].
            targets: B targets, labels [N], boxes as by `target_boxes`.
            name: how an error message calls the output.
            mask_logits: [B, Q, h, w] that must be finite as well; no part of the cost.

        Raises:
            NonFiniteError: a prediction or a cost is NaN or infinite.
        """
        truths = [target_boxes(target) for target in targets]
        with autocast_disabled(boxes.device.type):
            costs = [
                self.cost(classes.float(), box.float(), target.labels, truth.to(box.device))
                for classes, box, target, truth in zip(class_logits, boxes, targets, truths, strict=True)
            ]
        inputs = {"class_logits": class_logits, "boxes": boxes, "target boxes": truths}
        # 0, or NaN for a query with anything that is not finite: so the device is waited for once.
        poison = class_logits.float().sum(-1) * 0.0
        if mask_logits is not None:
            inputs["mask_logits"] = mask_logits
            poison = poison + mask_logits.float().flatten(2).sum(-1) * 0.0
        costs = [cost + query[:, None] for cost, query in zip(costs, poison, strict=True)]
        return assign(costs, name, lambda image: {key: found[image] for key, found in inputs.items()})

    def cost(self, class_logits: Tensor, boxes: Tensor, labels: Tensor, target_boxes: Tensor) -> Tensor:
        """Costs [Q, N] of one image from [Q, K] or [Q, K+1], [Q, 4], [N] and [N, 4]."""
        class_cost = _CLASS_COSTS[self.class_cost](class_logits)[:, labels]
        distance = torch.cdist(boxes, target_boxes, p=1)
        overlap = generalized_box_iou(corners(boxes), corners(target_boxes))
        return self.class_weight * class_cost + self.l1_weight * distance - self.giou_weight * overlap


def _softmax_cost(logits: Tensor) -> Tensor:
    """[Q, K+1] -> [Q, K+1]."""
    return -logits.softmax(-1)


def _focal_cost(logits: Tensor) -> Tensor:
    """[Q, K] -> [Q, K]."""
    positive = sigmoid_focal_loss(logits, torch.ones_like(logits))
    return positive - sigmoid_focal_loss(logits, torch.zeros_like(logits))


_CLASS_COSTS = {"focal": _focal_cost, "softmax": _softmax_cost}


def corners(boxes: Tensor) -> Tensor:
    """(centre x, centre y, width, height) [..., 4] to (left, top, right, bottom)."""
    return box_convert(boxes, "cxcywh", "xyxy")


def target_boxes(target: MaskTarget) -> Tensor:
    """The target's boxes [N, 4] float32, (centre x, centre y, width, height) in [0, 1].

    Where the target brings none they are those around the masks, from the outer edge of the first pixel to
    that of the last (as in the annotations of COCO panoptic; the released DETR leaves the last pixel out),
    relative to the masks' height and width, which is the padded batch: what a model sees that is not told the
    images' sizes. An empty mask gives the box (0, 0, 0, 0).
    """
    if target.boxes is not None:
        return target.boxes.float()
    height, width = target.masks.shape[1:]
    boxes = masks_to_boxes(target.masks)
    boxes[:, 2:] += target.masks.flatten(1).any(1)[:, None]
    return box_convert(boxes, "xyxy", "cxcywh") / boxes.new_tensor([width, height, width, height])

"""Losses of matched boxes (DETR, section 3.1, eq. 2) and of their classes (DETR and Deformable DETR)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou, sigmoid_focal_loss

from models.matching.boxes import corners


def box_l1_loss(boxes: Tensor, truths: Tensor, count: float) -> Tensor:
    """Sum of |b - t| over matched boxes [M, 4] (centre x, centre y, width, height), divided by `count`."""
    return (boxes - truths).abs().sum() / count


def box_giou_loss(boxes: Tensor, truths: Tensor, count: float) -> Tensor:
    """Sum of 1 - GIoU over matched boxes [M, 4] (centre x, centre y, width, height), divided by `count`."""
    overlap = generalized_box_iou(corners(boxes)[:, None], corners(truths)[:, None])  # [M, 1, 1]
    return (1 - overlap).sum() / count


def focal_class_loss(
    class_logits: Tensor, labels: Tensor, count: float, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Sigmoid focal loss, summed over queries and classes, divided by `count` (Lin et al. 2017, eq. 5).

    Args:
        class_logits: [..., K].
        labels: [...] int64 class of each query, K for "no object" (a negative of every class).
        count: what the sum is divided by.
    """
    classes = class_logits.shape[-1]
    truth = F.one_hot(labels, classes + 1)[..., :classes].to(class_logits.dtype)
    return sigmoid_focal_loss(class_logits, truth, alpha, gamma, reduction="sum") / count


def softmax_class_loss(
    class_logits: Tensor, labels: Tensor, no_object: float, total: float | None = None
) -> Tensor:
    """Cross-entropy, mean over the queries weighted by the weight of their true class (DETR, section 3.1).

    Args:
        class_logits: [B, Q, K+1], the last class is "no object".
        labels: [B, Q] int64 in 0..K.
        no_object: weight of "no object"; the others' is 1.
        total: what the weighted sum is divided by; by default the weights of these queries.
    """
    weights = torch.ones(class_logits.shape[-1], dtype=class_logits.dtype, device=class_logits.device)
    weights[-1] = no_object
    if total is None:
        return F.cross_entropy(class_logits.flatten(0, 1), labels.flatten(), weights)
    return F.cross_entropy(class_logits.flatten(0, 1), labels.flatten(), weights, reduction="sum") / total

"""The set-prediction loss of DETR (section 3.1, 4.4) and Deformable DETR, every auxiliary output included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.losses.base import (
    at_pixels,
    check_targets,
    class_weights,
    matched_labels,
    matched_rows,
    mean_count,
)
from models.losses.boxes import box_giou_loss, box_l1_loss, focal_class_loss, softmax_class_loss
from models.mask_terms import FocalSpec, dice_loss
from models.matching import BoxMatcher, target_boxes
from models.matching.boxes import ClassCost
from models.outputs import BoxOutput, MaskTarget
from models.precision import autocast_disabled
from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class DETRLossSpec(Spec):
    """Weights of the loss, and of the matching, which has the first three; the defaults are DETR's."""

    part: ClassVar[str] = "detr_loss"
    classes: ClassCost = "softmax"
    """Cross-entropy with "no object" (DETR), or focal loss of one sigmoid a class (Deformable DETR, with a
    `class_weight` of 2)."""
    class_weight: float = 1.0
    l1_weight: float = 5.0
    giou_weight: float = 2.0
    mask_weight: float = 1.0
    """Of the focal loss of masks."""
    dice_weight: float = 1.0
    no_object: float = 0.1
    """Weight of the class "no object" inside the weighted-mean cross-entropy."""
    deep_supervision: bool = True
    """Supervise classes and boxes after every decoder layer, each with a matching of its own."""

    def build(self, num_classes: int) -> DETRCriterion:
        """The criterion for targets of K = `num_classes` classes."""
        return DETRCriterion(self, num_classes)


class DETRCriterion(nn.Module):
    """Matches by class and box, then compares; masks only of the last layer, at every pixel of the targets.

    It holds no parameters or buffers, so it follows the device of what it is given.
    """

    def __init__(self, spec: DETRLossSpec, num_classes: int) -> None:
        super().__init__()
        self.spec, self.num_classes = spec, num_classes
        self.matcher = BoxMatcher(spec.classes, spec.class_weight, spec.l1_weight, spec.giou_weight)
        self.mask_term = FocalSpec()

    def normaliser(
        self,
        targets: Sequence[MaskTarget],
        device: torch.device | str,
        output: BoxOutput | None = None,
    ) -> dict[str, float]:
        """What sums are divided by: "boxes", the targets of the batch, at least 1, and given an `output` of
        any of its images "classes", the weights of all queries under softmax; averaged over the processes of
        the default group. Without the latter, that loss of a part is the mean over its own queries."""
        counts = {"boxes": mean_count(sum(len(target.labels) for target in targets), device)}
        if output is not None and self.spec.classes == "softmax":
            queries = output.class_logits.shape[1]
            counts["classes"] = class_weights(targets, queries, self.spec.no_object, device)
        return counts

    def forward(
        self,
        output: BoxOutput,
        targets: Sequence[MaskTarget],
        normaliser: Mapping[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """Unweighted losses: scalars "class", "l1", "giou", with a mask head "mask" and "dice", and the first
        three under "aux0/", "aux1/", ...

        Args:
            output: class logits [B, Q, K] or [B, Q, K+1], boxes [B, Q, 4], mask logits [B, Q, h, w] or None.
            targets: B targets, labels [N_i] in 0..K-1, masks [N_i, H, W] of one size, boxes as by
                `models.matching.target_boxes`. Without any target in the batch the losses still depend on
                the predictions.
            normaliser: as the method gives it, of the whole batch where these targets are a part of it.

        Raises:
            ValueError: targets that do not fit, see `check_targets`.
            NonFiniteError: a prediction is NaN or infinite.
        """
        size = None if output.mask_logits is None else output.mask_logits.shape[-2:]
        check_targets(targets, len(output.class_logits), self.num_classes, size)
        device = output.class_logits.device
        counts = normaliser or self.normaliser(targets, device)
        masks = torch.cat([target.masks for target in targets])
        targets = _in_columns(targets, output.class_ids)
        with autocast_disabled(device.type):
            losses = self._compare(output, targets, masks, counts, "output")
            for i, auxiliary in enumerate(output.auxiliary if self.spec.deep_supervision else ()):
                terms = self._compare(auxiliary, targets, masks, counts, f"auxiliary output {i}")  # type: ignore[arg-type]
                losses |= {f"aux{i}/{name}": loss for name, loss in terms.items()}
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum that is minimised; every output's losses have the same weights."""
        weights = {
            "class": self.spec.class_weight,
            "l1": self.spec.l1_weight,
            "giou": self.spec.giou_weight,
            "mask": self.spec.mask_weight,
            "dice": self.spec.dice_weight,
        }
        return torch.stack([weights[name.rpartition("/")[2]] * loss for name, loss in losses.items()]).sum()

    def _compare(
        self,
        output: BoxOutput,
        targets: Sequence[MaskTarget],
        masks: Tensor,
        counts: Mapping[str, float],
        name: str,
    ) -> dict[str, Tensor]:
        count = counts["boxes"]
        logits, boxes = output.class_logits.float(), output.boxes.float()
        matches = self.matcher(logits, boxes, targets, name, output.mask_logits)
        queries = boxes.shape[1]
        predicted, truth = matched_rows(matches, targets, queries)
        columns = logits.shape[-1] - (self.spec.classes == "softmax")
        labels = matched_labels(matches, targets, queries, columns)
        matched = boxes.flatten(0, 1)[predicted]
        truths = torch.cat([target_boxes(target) for target in targets])[truth]
        losses = {
            "class": self._class_loss(logits, labels, counts),
            "l1": box_l1_loss(matched, truths, count),
            "giou": box_giou_loss(matched, truths, count),
        }
        if output.mask_logits is not None:
            chosen = output.mask_logits.flatten(0, 1)[predicted].float()
            values, wanted = at_pixels(chosen, masks, truth)
            losses["mask"] = self.mask_term.loss(values, wanted).sum() / count
            losses["dice"] = dice_loss(values, wanted).sum() / count
        return losses

    def _class_loss(self, logits: Tensor, labels: Tensor, counts: Mapping[str, float]) -> Tensor:
        if self.spec.classes == "softmax":
            return softmax_class_loss(logits, labels, self.spec.no_object, counts.get("classes"))
        return focal_class_loss(logits, labels, counts["boxes"])


def _in_columns(targets: Sequence[MaskTarget], class_ids: Tensor | None) -> list[MaskTarget]:
    """The targets with their boxes, labelled by columns of the class logits."""
    return [
        MaskTarget(
            target.labels if class_ids is None else class_ids[target.labels],
            target.masks,
            target_boxes(target),
        )
        for target in targets
    ]

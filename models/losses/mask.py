"""The set-prediction loss of mask classification, every auxiliary output included.

Mask2Former (section 3.3) compares masks at random points by cross-entropy, MaskFormer (section 4.1) at all
pixels by the focal loss; dice and classes are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from models.losses.boxes import softmax_class_loss
from models.mask_terms import BCESpec, FocalSpec, MaskTermSpec, dice_loss
from models.matching import HungarianMatcher, NonFiniteError
from models.matching.masks import Where
from models.outputs import MaskTarget, SegmentationOutput
from models.points import Sampler, of_images, sample_points, sample_rows, uncertain_points, uniform_points
from models.spec import Spec

__all__ = ["MaskCriterion", "MaskLossSpec", "NonFiniteError", "maskformer_loss"]


@dataclass(frozen=True, kw_only=True)
class MaskLossSpec(Spec):
    """Weights and sampling of the mask loss; the defaults are the released Mask2Former's for all datasets.

    The rows of Mask2Former's Table 5 are `matching` and `training` at "points" or on "masks".
    """

    part: ClassVar[str] = "mask_loss"
    least: ClassVar[dict[str, int]] = {"points": 1}

    matching: Where = "points"
    """Where the matcher compares a mask with a target."""
    training: Where = "points"
    """Where the loss compares a mask with its target."""
    term: MaskTermSpec = field(default_factory=BCESpec)
    """What `mask_weight` is the weight of, in the matcher and in the loss."""
    points: int = 12544
    """Points per mask, in the matcher and in the loss (112 * 112)."""
    oversample: float = 3.0
    importance: float = 0.75
    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    no_object: float = 0.1
    """Weight of the class "no object" inside the weighted-mean cross-entropy."""
    deep_supervision: bool = True
    """Supervise every auxiliary output like the last one, with a matching of its own."""

    def build(self, num_classes: int, sampler: Sampler = uniform_points) -> MaskCriterion:
        """The criterion for K = `num_classes` classes; `sampler` is the source of all random points."""
        return MaskCriterion(self, num_classes, sampler)


class MaskCriterion(nn.Module):
    """Matches, then compares; holds no parameters or buffers, so it follows the device of what it is given.

    Random points are drawn in the released order: the final output first (matcher: image 0, 1, ...; then
    candidates and the rest for all matched masks of the batch in one call each), then auxiliary output 0, 1,
    ... in the same way. From `ImagePoints` every image draws its own, in the same order.
    """

    def __init__(self, spec: MaskLossSpec, num_classes: int, sampler: Sampler = uniform_points) -> None:
        super().__init__()
        self.spec = spec
        self.num_classes = num_classes
        self.sampler = sampler
        self.matcher = HungarianMatcher(
            spec.class_weight,
            spec.mask_weight,
            spec.dice_weight,
            spec.points,
            sampler,
            spec.matching,
            spec.term,
        )
        self._values = {"points": self._at_points, "masks": self._at_pixels}[spec.training]

    def normaliser(
        self,
        targets: Sequence[MaskTarget],
        device: torch.device | str,
        output: SegmentationOutput | None = None,
    ) -> dict[str, float]:
        """What sums are divided by: "masks", the targets of the batch, at least 1, and given an `output` of
        any of its images "classes", the weights of all queries; averaged over the processes of the default
        group. Without the latter, the class loss of a part is the mean over its own queries."""
        counts = {"masks": mean_count(sum(len(target.labels) for target in targets), device)}
        if output is not None:
            queries = output.class_logits.shape[1]
            counts["classes"] = class_weights(targets, queries, self.spec.no_object, device)
        return counts

    def forward(
        self,
        output: SegmentationOutput,
        targets: Sequence[MaskTarget],
        normaliser: Mapping[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """Unweighted losses: scalars "class", "mask", "dice", and the same under "aux0/", "aux1/", ...

        Args:
            output: class logits [B, Q, K+1], mask logits [B, Q, h, w], auxiliary outputs of the same shapes.
            targets: B targets, labels [N_i] in 0..K-1 and masks [N_i, H, W]; H, W the padded input's, the
                same for all images. Without any target in the batch the losses still depend on the
                predictions (mask and dice are 0).
            normaliser: as the method gives it, of the whole batch where these targets are a part of it.

        Raises:
            ValueError: targets that do not fit, see `check_targets`.
            NonFiniteError: a prediction is NaN or infinite.
        """
        check_targets(targets, len(output.mask_logits), self.num_classes, output.mask_logits.shape[-2:])
        device = output.mask_logits.device
        counts = normaliser or self.normaliser(targets, device)
        with torch.autocast(device.type, enabled=False):
            masks = torch.cat([target.masks for target in targets]).to(torch.float32)
            parts = masks.split([len(target.labels) for target in targets])
            targets = [MaskTarget(t.labels, part) for t, part in zip(targets, parts, strict=True)]
            losses = self._compare(output, targets, masks, counts, "output")
            for i, auxiliary in enumerate(output.auxiliary if self.spec.deep_supervision else ()):
                terms = self._compare(auxiliary, targets, masks, counts, f"auxiliary output {i}")
                losses |= {f"aux{i}/{name}": loss for name, loss in terms.items()}
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum that is minimised; every output's losses have the same weights."""
        weights = {
            "class": self.spec.class_weight,
            "mask": self.spec.mask_weight,
            "dice": self.spec.dice_weight,
        }
        return torch.stack([weights[name.rpartition("/")[2]] * loss for name, loss in losses.items()]).sum()

    def _compare(
        self,
        output: SegmentationOutput,
        targets: Sequence[MaskTarget],
        masks: Tensor,
        counts: Mapping[str, float],
        name: str,
    ) -> dict[str, Tensor]:
        queries = output.mask_logits.shape[1]
        matches = self.matcher(output.class_logits, output.mask_logits, targets, name)
        labels = matched_labels(matches, targets, queries, self.num_classes)
        class_loss = softmax_class_loss(
            output.class_logits.float(), labels, self.spec.no_object, counts.get("classes")
        )
        predicted, truth = matched_rows(matches, targets, queries)
        logits = output.mask_logits.flatten(0, 1)[predicted].float()
        of_image = {image: len(rows) for image, (rows, _) in enumerate(matches)}
        values, truths = self._values(logits, masks, truth, of_image)
        mask_loss = self.spec.term.loss(values, truths).sum() / counts["masks"]
        dice = dice_loss(values, truths).sum() / counts["masks"]
        return {"class": class_loss, "mask": mask_loss, "dice": dice}

    def _at_pixels(
        self, logits: Tensor, masks: Tensor, rows: Tensor, of_image: Mapping[int, int]
    ) -> tuple[Tensor, Tensor]:
        return at_pixels(logits, masks, rows)

    def _at_points(
        self, logits: Tensor, masks: Tensor, rows: Tensor, of_image: Mapping[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Values and labels [M, P] of [M, h, w] and of the `rows` [M] of masks [N, H, W], at points chosen
        anew for each pair; `of_image[i]` of the M belong to image i."""
        spec, sampler = self.spec, of_images(self.sampler, of_image)
        points = uncertain_points(logits.detach(), spec.points, spec.oversample, spec.importance, sampler)
        return sample_points(logits[:, None], points).squeeze(1), sample_rows(masks, rows, points)


def maskformer_loss() -> MaskLossSpec:
    """The released MaskFormer's: focal and dice loss at every pixel of the targets."""
    return MaskLossSpec(
        matching="masks",
        training="masks",
        term=FocalSpec(),
        class_weight=1.0,
        mask_weight=20.0,
        dice_weight=1.0,
    )

"""The set-prediction loss of Mask2Former (section 3.3), every auxiliary output included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from models.matching import HungarianMatcher, Match, NonFiniteError
from models.outputs import MaskTarget, SegmentationOutput
from models.points import Sampler, sample_points, uncertain_points, uniform_points
from models.spec import Spec

__all__ = ["MaskCriterion", "MaskLossSpec", "NonFiniteError", "count_masks"]


@dataclass(frozen=True, kw_only=True)
class MaskLossSpec(Spec):
    """Weights and sampling of the mask loss; the defaults are the released Mask2Former's for all datasets."""

    part: ClassVar[str] = "mask_loss"
    least: ClassVar[dict[str, int]] = {"points": 1}

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
    ... in the same way.
    """

    def __init__(self, spec: MaskLossSpec, num_classes: int, sampler: Sampler = uniform_points) -> None:
        super().__init__()
        self.spec = spec
        self.num_classes = num_classes
        self.sampler = sampler
        self.matcher = HungarianMatcher(
            spec.class_weight, spec.mask_weight, spec.dice_weight, spec.points, sampler
        )

    def forward(
        self, output: SegmentationOutput, targets: Sequence[MaskTarget], num_masks: float | None = None
    ) -> dict[str, Tensor]:
        """Unweighted losses: scalars "class", "mask", "dice", and the same under "aux0/", "aux1/", ...

        Args:
            output: class logits [B, Q, K+1], mask logits [B, Q, h, w], auxiliary outputs of the same shapes.
            targets: B targets, labels [N_i] in 0..K-1 and masks [N_i, H, W]; H, W the padded input's, the
                same for all images. Without any target in the batch the losses still depend on the
                predictions (mask and dice are 0).
            num_masks: what mask and dice sums are divided by; by default the mean number of targets over the
                processes, at least 1.

        Raises:
            ValueError: batch sizes differ, masks of different sizes, or a label outside 0..K-1.
            NonFiniteError: a prediction is NaN or infinite.
        """
        _check(output, targets, self.num_classes)
        device = output.mask_logits.device
        if num_masks is None:
            num_masks = count_masks(targets, device)
        masks = [target.masks for target in targets]
        with torch.autocast(device.type, enabled=False):
            truths = torch.cat(masks).to(torch.float32)
            losses = self._compare(output, targets, truths, num_masks, "output")
            for i, auxiliary in enumerate(output.auxiliary if self.spec.deep_supervision else ()):
                terms = self._compare(auxiliary, targets, truths, num_masks, f"auxiliary output {i}")
                losses |= {f"aux{i}/{name}": loss for name, loss in terms.items()}
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum that is minimised; every output's losses have the same weights."""
        weights = {
            "class": self.spec.class_weight, "mask": self.spec.mask_weight, "dice": self.spec.dice_weight
        }
        return torch.stack([weights[name.rpartition("/")[2]] * loss for name, loss in losses.items()]).sum()

    def _compare(
        self,
        output: SegmentationOutput,
        targets: Sequence[MaskTarget],
        truths: Tensor,
        num_masks: float,
        name: str,
    ) -> dict[str, Tensor]:
        matches = self.matcher(output.class_logits, output.mask_logits, targets, name)
        predicted, truth = _matched(matches, targets, output.mask_logits.shape[1])
        class_loss = self._class_loss(output.class_logits.float(), targets, matches)
        logits = output.mask_logits.flatten(0, 1)[predicted].float()
        mask_loss, dice_loss = self._mask_losses(logits, truths[truth], num_masks)
        return {"class": class_loss, "mask": mask_loss, "dice": dice_loss}

    def _class_loss(self, logits: Tensor, targets: Sequence[MaskTarget], matches: list[Match]) -> Tensor:
        """Cross-entropy of [B, Q, K+1]: mean over all queries weighted by the weight of the true class."""
        truth = torch.full(logits.shape[:2], self.num_classes, dtype=torch.int64, device=logits.device)
        for image, (target, (queries, indices)) in enumerate(zip(targets, matches, strict=True)):
            truth[image, queries] = target.labels[indices]
        weights = logits.new_ones(self.num_classes + 1)
        weights[-1] = self.spec.no_object
        return F.cross_entropy(logits.flatten(0, 1), truth.flatten(), weights)

    def _mask_losses(self, logits: Tensor, truths: Tensor, num_masks: float) -> tuple[Tensor, Tensor]:
        """BCE and dice of matched masks [M, h, w] and [M, H, W] at points chosen anew for each mask."""
        spec = self.spec
        points = uncertain_points(
            logits.detach(), spec.points, spec.oversample, spec.importance, self.sampler
        )
        values = sample_points(logits[:, None], points).squeeze(1)
        with torch.no_grad():
            labels = sample_points(truths[:, None], points).squeeze(1)
        bce = F.binary_cross_entropy_with_logits(values, labels, reduction="none").mean(1)
        probabilities = values.sigmoid()
        overlap = 2 * (probabilities * labels).sum(1)
        dice = 1 - (overlap + 1) / (probabilities.sum(1) + labels.sum(1) + 1)
        return bce.sum() / num_masks, dice.sum() / num_masks


def count_masks(targets: Sequence[MaskTarget], device: torch.device) -> float:
    """Targets in the batch, averaged over the processes of the default group, at least 1."""
    count = float(sum(len(target.labels) for target in targets))
    if dist.is_available() and dist.is_initialized():
        total = torch.tensor(count, device=device)
        dist.all_reduce(total)
        count = total.item() / dist.get_world_size()
    return max(count, 1.0)


def _matched(matches: Sequence[Match], targets: Sequence[MaskTarget], queries: int) -> tuple[Tensor, Tensor]:
    """Matched pairs [M], image by image in query order, as rows of predictions [B*Q] and of concatenated
    targets [sum N]."""
    predicted, truth, first = [], [], 0
    for image, (target, (rows, columns)) in enumerate(zip(targets, matches, strict=True)):
        predicted.append(rows + image * queries)
        truth.append(columns + first)
        first += len(target.labels)
    return torch.cat(predicted), torch.cat(truth)


def _check(output: SegmentationOutput, targets: Sequence[MaskTarget], num_classes: int) -> None:
    if len(targets) != len(output.mask_logits):
        raise ValueError(f"{len(output.mask_logits)} predictions but {len(targets)} targets")
    for image, target in enumerate(targets):
        if target.masks.ndim != 3 or len(target.masks) != len(target.labels):
            shapes = f"labels {tuple(target.labels.shape)}, masks {tuple(target.masks.shape)}"
            raise ValueError(f"target {image}: expected labels [N] and masks [N, H, W], got {shapes}")
        if target.masks.shape[1:] != targets[0].masks.shape[1:]:
            sizes = f"{tuple(target.masks.shape[1:])} and {tuple(targets[0].masks.shape[1:])}"
            raise ValueError(f"target masks of different sizes in one batch: {sizes}; pad them as the images")
    labels = torch.cat([target.labels for target in targets])
    outside = (labels < 0) | (labels >= num_classes)
    if bool(outside.any()):
        raise ValueError(f"target label {labels[outside][0].item()} is outside 0..{num_classes - 1}")

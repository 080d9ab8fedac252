"""What the Pyramid Fusion Transformer is trained with (Qin et al. 2022, section III-B; supplement II, III).

A query answers for its class in every image, so nothing is matched. The supplement's variant that matches is
`BipartiteLossSpec`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from models.decoders.pyramid_heads import Assignment
from models.losses.base import at_pixels, check_targets, mean_count
from models.losses.mask import MaskLossSpec, maskformer_loss
from models.mask_terms import FocalSpec, dice_loss
from models.matching import NonFiniteError
from models.outputs import MaskTarget, SegmentationOutput
from models.pyramid_output import PyramidOutput
from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class PyramidLossSpec(Spec):
    """Base of the losses of a PFT; `assignment` must be that of its heads."""

    assignment: ClassVar[Assignment]

    def build(self, num_classes: int) -> nn.Module:
        """The criterion for K = `num_classes` classes."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class AttentionLossSpec(Spec):
    """The cross-attention weight loss (eq. 7 and 8) and its rows of table VIII.

    `absent_weight`: of classes that are not in the image, whose attention is to be uniform; 0: they are left
    out ("L_attn w/o"). `stop`: the part of the schedule after which there is no such loss: 120k of 160k
    iterations (row 3); 0.25, 0.5 and 1 are the others.
    """

    part: ClassVar[str] = "attention_loss"
    weight: float = 0.1
    absent_weight: float = 0.1
    stop: float = 0.75


@dataclass(frozen=True, kw_only=True)
class PFTLossSpec(PyramidLossSpec):
    """Weights as in section IV-A and table X (`focal_class_weight` 2 with Swin-T and -S, `class_weight` 0.5
    on PASCAL-Context).

    `average`: the class and mask losses compare the averaged "logits", or, for the prediction average of the
    supplement (II-A), those of each scale, and take the mean.
    `focal_class`: what probabilities the focal-style class loss takes. The main text calls it binary, with
    eq. 4's "sigmoid"; the supplement (III-A) has a "softmax", under which two classes cannot both reach 1.
    Its sum over the classes is divided by the number of present ones, as focal losses of detectors are.
    `supervise_input`: compare the input queries too (48.7 against 48.5 mIoU, section IV-C).
    """

    part: ClassVar[str] = "pft_loss"
    assignment: ClassVar[Assignment] = "fixed"
    class_weight: float = 1.0
    focal_class_weight: float = 1.0
    mask_weight: float = 20.0
    dice_weight: float = 1.0
    attention: AttentionLossSpec | None = field(default_factory=AttentionLossSpec)
    average: Literal["logits", "predictions"] = "logits"
    focal_class: Literal["sigmoid", "softmax"] = "sigmoid"
    alpha: float = 0.25
    """Of both focal losses, classes and masks; as is `gamma`."""
    gamma: float = 2.0
    supervise_input: bool = True

    def build(self, num_classes: int) -> PFTCriterion:
        return PFTCriterion(self, num_classes)


class PFTCriterion(nn.Module):
    """Compares every query with its class; holds no parameters or buffers.

    Attributes:
        progress: how much of the training schedule has passed, in [0, 1]; the trainer sets it before each
            step. The attention loss ends by it.
    """

    def __init__(self, spec: PFTLossSpec, num_classes: int) -> None:
        super().__init__()
        self.spec, self.num_classes = spec, num_classes
        self.mask_term = FocalSpec(alpha=spec.alpha, gamma=spec.gamma)
        self.progress = 0.0

    def normaliser(
        self,
        targets: Sequence[MaskTarget],
        device: torch.device | str,
        output: PyramidOutput | None = None,
    ) -> dict[str, float]:
        """What sums are divided by: "masks", the classes present in each image, summed over the batch,
        averaged over the processes of the default group, at least 1. What does not depend on targets, as
        `output`, is a mean over images."""
        return {"masks": mean_count(sum(len(target.labels.unique()) for target in targets), device)}

    def forward(
        self,
        output: PyramidOutput,
        targets: Sequence[MaskTarget],
        normaliser: Mapping[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """Unweighted losses: scalars "class", "focal_class", "mask", "dice", "attention" (while there is
        one), and the same under "aux0/" (the input queries, without attention), "aux1/", ...

        Args:
            output: class logits [B, K], mask logits [B, K, h, w], those of the scales, auxiliary outputs.
            targets: B targets, labels [N_i] in 0..K-1 and masks [N_i, H, W], the same H and W for all images.
                Segments of one class are taken together. Without any target in the batch the losses still
                depend on the predictions.
            normaliser: as the method gives it, of the whole batch where these targets are a part of it.

        Raises:
            ValueError: targets that do not fit, see `check_targets`.
            NonFiniteError: a prediction is NaN or infinite.
        """
        check_targets(targets, len(output.mask_logits), self.num_classes, output.mask_logits.shape[-2:])
        device = output.mask_logits.device
        count = (normaliser or self.normaliser(targets, device))["masks"]
        outputs = {"": output} | {f"aux{i}/": aux for i, aux in enumerate(output.auxiliary)}
        if not self.spec.supervise_input and output.auxiliary:
            del outputs["aux0/"]
        _require_finite(outputs)
        truth = _Truth.of([_one_a_class(target) for target in targets], self.num_classes)
        losses = {}
        with torch.autocast(device.type, enabled=False):
            for prefix, each in outputs.items():
                terms = self._compare(each, truth, count)
                losses |= {f"{prefix}{name}": loss for name, loss in terms.items()}
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum that is minimised (eq. 9), over all outputs."""
        spec = self.spec
        weights = {
            "class": spec.class_weight,
            "focal_class": spec.focal_class_weight,
            "mask": spec.mask_weight,
            "dice": spec.dice_weight,
            "attention": spec.attention.weight if spec.attention else 0.0,
        }
        return torch.stack([weights[name.rpartition("/")[2]] * loss for name, loss in losses.items()]).sum()

    def _compare(self, output: PyramidOutput, truth: _Truth, count: float) -> dict[str, Tensor]:
        spec = self.spec
        losses = _mean([self._class_and_mask(each, truth, count) for each in self._compared(output)])
        focal = [self._focal_class(scale.class_logits.float(), truth.present) for scale in output.scales]
        losses["focal_class"] = torch.stack(focal).mean() / count
        if spec.attention is not None and output.attention and self.progress < spec.attention.stop:
            scales = [attention_loss(a, truth, spec.attention.absent_weight) for a in output.attention]
            losses["attention"] = torch.stack(scales).mean()
        return losses

    def _compared(self, output: PyramidOutput) -> Sequence[SegmentationOutput]:
        return [output] if self.spec.average == "logits" else output.scales

    def _class_and_mask(self, output: SegmentationOutput, truth: _Truth, count: float) -> dict[str, Tensor]:
        """Cross-entropy over all classes; focal and dice loss of the present ones, at every pixel."""
        classes = F.binary_cross_entropy_with_logits(output.class_logits.float(), truth.present)
        logits = output.mask_logits.flatten(0, 1)[truth.rows].float()
        values, labels = at_pixels(logits, truth.masks, torch.arange(len(truth.rows), device=logits.device))
        mask = self.mask_term.loss(values, labels).sum() / count
        return {"class": classes, "mask": mask, "dice": dice_loss(values, labels).sum() / count}

    def _focal_class(self, logits: Tensor, present: Tensor) -> Tensor:
        """Focal-style cross-entropy of [B, K], summed (supplement, eq. 10 and 11)."""
        alpha, gamma = self.spec.alpha, self.spec.gamma
        if self.spec.focal_class == "sigmoid":
            return sigmoid_focal_loss(logits, present, alpha, gamma, reduction="sum")
        p = logits.softmax(-1).clamp(1e-7, 1 - 1e-7)
        right = torch.where(present.bool(), p, 1 - p)
        weight = torch.where(present.bool(), alpha, 1 - alpha)
        return -(weight * (1 - right) ** gamma * right.log()).sum()


@dataclass
class _Truth:
    """Targets of a batch: `present` [B, K] float; masks [M, H, W] and, of each, its row in [B * K]."""

    present: Tensor
    masks: Tensor
    rows: Tensor

    @classmethod
    def of(cls, targets: Sequence[MaskTarget], num_classes: int) -> _Truth:
        """Of targets that have a class once at most."""
        rows = torch.cat([target.labels + i * num_classes for i, target in enumerate(targets)])
        present = torch.zeros(len(targets) * num_classes, device=rows.device)
        present[rows] = 1.0
        masks = torch.cat([target.masks for target in targets])
        return cls(present.view(len(targets), num_classes), masks, rows)


def attention_loss(logits: Tensor, truth: _Truth, absent_weight: float) -> Tensor:
    """Cross-entropy of a query's attention with its class's mask, as distributions over the pixels (eq. 8).

    Args:
        logits: [B, K, h, w], the softmax of which over pixels is the attention (eq. 7).
        truth: masks are averaged over the pixels of the level, then sum to 1.
        absent_weight: of absent classes, whose target is uniform; a mask without a pixel asks for nothing.

    Returns:
        The mean over all classes of the batch, present or not.
    """
    batch, classes, height, width = logits.shape
    shares = F.interpolate(truth.masks[:, None].float(), size=(height, width), mode="area").flatten(1)
    target = logits.new_full((batch * classes, height * width), absent_weight / (height * width))
    target[truth.rows] = (shares / shares.sum(1, keepdim=True).clamp_min(1e-6)).to(target.dtype)
    return -(target * logits.float().flatten(0, 1).flatten(1).log_softmax(-1)).sum(1).mean()


def _one_a_class(target: MaskTarget) -> MaskTarget:
    """The same with the segments of each class as one."""
    labels, index = target.labels.unique(return_inverse=True)
    if len(labels) == len(target.labels):
        return target
    counts = torch.zeros(len(labels), *target.masks.shape[1:], dtype=torch.int32, device=labels.device)
    return MaskTarget(labels, counts.index_add_(0, index, target.masks.to(torch.int32)) > 0)


def _mean(losses: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([each[name] for each in losses]).mean() for name in losses[0]}


def _require_finite(outputs: Mapping[str, PyramidOutput]) -> None:
    tensors = {}
    for prefix, output in outputs.items():
        tensors[f"{prefix}class_logits"], tensors[f"{prefix}mask_logits"] = (
            output.class_logits, output.mask_logits
        )  # fmt: skip
    finite = torch.stack([tensor.detach().isfinite().all() for tensor in tensors.values()]).tolist()
    if bad := [name for name, good in zip(tensors, finite, strict=True) if not good]:
        raise NonFiniteError(f"{', '.join(bad)}: not finite (NaN or infinity)")


@dataclass(frozen=True, kw_only=True)
class BipartiteLossSpec(PyramidLossSpec):
    """MaskFormer's matching and losses on the queries of each scale by itself, mean over the scales.

    The supplement's variant II-B. It does not say how the attention loss would know absent classes: there is
    none here.
    """

    part: ClassVar[str] = "pft_bipartite_loss"
    assignment: ClassVar[Assignment] = "bipartite"
    mask: MaskLossSpec = field(default_factory=maskformer_loss)

    def build(self, num_classes: int) -> BipartiteCriterion:
        return BipartiteCriterion(self, num_classes)


class BipartiteCriterion(nn.Module):
    """A set criterion, scale by scale."""

    def __init__(self, spec: BipartiteLossSpec, num_classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.criterion = spec.mask.build(num_classes)

    def normaliser(
        self,
        targets: Sequence[MaskTarget],
        device: torch.device | str,
        output: PyramidOutput | None = None,
    ) -> dict[str, float]:
        """As `MaskCriterion.normaliser`: every scale has as many queries."""
        return self.criterion.normaliser(targets, device, None if output is None else output.scales[0])

    def forward(
        self,
        output: PyramidOutput,
        targets: Sequence[MaskTarget],
        normaliser: Mapping[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """As `MaskCriterion.forward`, of an output whose scales have [B, Q, K + 1] class logits."""
        scales = []
        for index, scale in enumerate(output.scales):
            auxiliary = [each.scales[index] for each in output.auxiliary]
            alone = SegmentationOutput(scale.class_logits, scale.mask_logits, auxiliary)
            scales.append(self.criterion(alone, targets, normaliser))
        return _mean(scales)

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        return self.criterion.total(losses)

"""How far a predicted mask is from a true one, as a loss of matched pairs and as a cost of all pairs.

Values and labels are given at places chosen elsewhere: random points, or all pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class MaskTermSpec(Spec):
    """Base of the pixel-wise terms; they have no weights, so the spec is the term."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the places: logits [M, P] and labels [M, P] in [0, 1] -> [M]."""
        raise NotImplementedError

    def split(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The term where the label is 0, and what a label of 1 adds to it: [Q, P] -> two of [Q, P].

        The cost of all pairs is then one product with the labels [N, P]; for a label between 0 and 1 it is
        interpolated.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class BCESpec(MaskTermSpec):
    """Binary cross-entropy: BCE(x, t) = softplus(x) - x t (Mask2Former, section 3.3)."""

    part: ClassVar[str] = "bce"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)

    def split(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return F.softplus(logits), -logits


@dataclass(frozen=True, kw_only=True)
class FocalSpec(MaskTermSpec):
    """Focal loss (Lin et al. 2017, eq. 5), which MaskFormer (section 4.1) and DETR compare masks with."""

    part: ClassVar[str] = "focal"
    alpha: float = 0.25
    gamma: float = 2.0

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sigmoid_focal_loss(logits, labels, self.alpha, self.gamma).mean(1)

    def split(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        p = logits.sigmoid()
        positive = self.alpha * (1 - p) ** self.gamma * F.softplus(-logits)
        negative = (1 - self.alpha) * p**self.gamma * F.softplus(logits)
        return negative, positive - negative


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1) over the places: [M, P] and [M, P] -> [M]."""
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * labels).sum(1)
    return 1 - (overlap + 1) / (probabilities.sum(1) + labels.sum(1) + 1)

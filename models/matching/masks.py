"""Bipartite matching of predicted masks with targets (Mask2Former, section 3.3; DETR, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.mask_terms import BCESpec, MaskTermSpec
from models.matching.base import Match, NonFiniteError, assign
from models.outputs import MaskTarget
from models.points import Sampler, of_images, sample_points, uniform_points

__all__ = ["HungarianMatcher", "Match", "NonFiniteError", "Where"]

Where = Literal["points", "masks"]
"""Where predicted and true masks are compared: at random points, or at every pixel."""


class HungarianMatcher(nn.Module):
    """Cheapest one-to-one assignment of queries to targets, image by image.

    cost = -class_weight * p(class) + mask_weight * term + dice_weight * dice, with
    dice = 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1).

    At "points", term (mean) and dice are over one set of `points` uniform points an image, shared by all its
    pairs; targets are sampled bilinearly, so they are soft at borders (Mask2Former, section 3.3, and its
    released matcher). On "masks" they are over all pixels of the prediction, to whose size the targets are
    brought by nearest neighbours (MaskFormer's released matcher).
    """

    def __init__(
        self,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        points: int = 12544,
        sampler: Sampler = uniform_points,
        where: Where = "points",
        term: MaskTermSpec | None = None,
    ) -> None:
        super().__init__()
        self.class_weight, self.mask_weight, self.dice_weight = class_weight, mask_weight, dice_weight
        self.points = points
        self.sampler = sampler
        self.term = term or BCESpec()
        self._values = {"points": self._at_points, "masks": _on_masks}[where]

    @torch.no_grad()
    def forward(
        self, class_logits: Tensor, mask_logits: Tensor, targets: Sequence[MaskTarget], name: str = "output"
    ) -> list[Match]:
        """Matches each image of the batch.

        Args:
            class_logits: [B, Q, K+1], the last class is "no object".
            mask_logits: [B, Q, h, w].
            targets: B targets, labels [N] and masks [N, H, W] of any resolution.
            name: how an error message calls the output.

        Raises:
            NonFiniteError: a cost is NaN or infinite.
        """
        with torch.autocast(mask_logits.device.type, enabled=False):
            costs = [
                self._cost(classes.float(), masks.float(), target, image)
                for image, (classes, masks, target) in enumerate(
                    zip(class_logits, mask_logits, targets, strict=True)
                )
            ]
        return assign(
            costs,
            name,
            lambda image: {
                "class_logits": class_logits[image],
                "mask_logits": mask_logits[image],
                "target masks": targets[image].masks,
            },
        )

    def _cost(
        self, class_logits: Tensor, mask_logits: Tensor, target: MaskTarget, image: int = 0
    ) -> Tensor:
        """Costs [Q, N] of the image of that number from [Q, K+1] and [Q, h, w]."""
        logits, truth = self._values(mask_logits, target.masks.to(mask_logits.dtype), image)
        class_cost = -class_logits.softmax(-1)[:, target.labels]
        probabilities = logits.sigmoid()
        negative, change = self.term.split(logits)
        # One product with the targets serves both mask terms of all pairs.
        added, intersection = (torch.cat([change, probabilities]) @ truth.T).chunk(2)
        mask_cost = (negative.sum(-1, keepdim=True) + added) / logits.shape[1]
        area = probabilities.sum(-1, keepdim=True) + truth.sum(-1)
        dice_cost = 1 - (2 * intersection + 1) / (area + 1)
        return self.class_weight * class_cost + self.mask_weight * mask_cost + self.dice_weight * dice_cost

    def _at_points(self, logits: Tensor, masks: Tensor, image: int) -> tuple[Tensor, Tensor]:
        """Values [Q, P] and labels [N, P] of [Q, h, w] and [N, H, W] at the same new points."""
        points = of_images(self.sampler, {image: 1})(1, self.points, logits.device)
        return sample_points(logits[None], points)[0], sample_points(masks[None], points)[0]


def _on_masks(logits: Tensor, masks: Tensor, image: int) -> tuple[Tensor, Tensor]:
    """Values [Q, h * w] and labels [N, h * w] of [Q, h, w] and [N, H, W]."""
    truth = F.interpolate(masks[:, None], size=logits.shape[-2:], mode="nearest")[:, 0]
    return logits.flatten(1), truth.flatten(1)

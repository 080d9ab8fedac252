"""Bipartite matching of predicted masks with targets (Mask2Former, section 3.3; DETR, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from models.outputs import MaskTarget
from models.points import Sampler, sample_points, uniform_points

Match = tuple[Tensor, Tensor]
"""Query indices (ascending) and the target index of each, int64 [min(Q, N)] on the predictions' device."""


class NonFiniteError(FloatingPointError):
    """A tensor that must be finite holds NaN or infinity; the message names it."""


class HungarianMatcher(nn.Module):
    """Cheapest one-to-one assignment of queries to targets, image by image.

    cost = -class_weight * p(class) + mask_weight * BCE + dice_weight * dice, with
    dice = 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1),

    BCE (mean) and dice over one set of `points` uniform points an image, shared by all its pairs. Targets
    are sampled bilinearly, so they are soft at borders. Mask2Former, section 3.3, and its released matcher.
    """

    def __init__(
        self,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        points: int = 12544,
        sampler: Sampler = uniform_points,
    ) -> None:
        super().__init__()
        self.class_weight, self.mask_weight, self.dice_weight = class_weight, mask_weight, dice_weight
        self.points = points
        self.sampler = sampler

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
                self._cost(classes.float(), masks.float(), target)
                for classes, masks, target in zip(class_logits, mask_logits, targets, strict=True)
            ]
        matrices = _to_host(costs)
        matches = []
        for image, matrix in enumerate(matrices):
            if not bool(matrix.isfinite().all()):
                tensors = class_logits[image], mask_logits[image], targets[image].masks
                raise NonFiniteError(_blame(f"{name}, image {image}", *tensors))
            rows, columns = linear_sum_assignment(matrix.numpy())
            pair = torch.stack([torch.from_numpy(rows), torch.from_numpy(columns)]).to(mask_logits.device)
            matches.append((pair[0], pair[1]))
        return matches

    def _cost(self, class_logits: Tensor, mask_logits: Tensor, target: MaskTarget) -> Tensor:
        """Costs [Q, N] of one image from [Q, K+1] and [Q, h, w]."""
        points = self.sampler(1, self.points, mask_logits.device)
        logits = sample_points(mask_logits[None], points)[0]
        truth = sample_points(target.masks[None].to(logits.dtype), points)[0]
        class_cost = -class_logits.softmax(-1)[:, target.labels]
        probabilities = logits.sigmoid()
        # BCE(x, t) = softplus(x) - x t: one product with the targets serves both mask terms of all pairs.
        overlap, intersection = (torch.cat([logits, probabilities]) @ truth.T).chunk(2)
        mask_cost = (F.softplus(logits).sum(-1, keepdim=True) - overlap) / self.points
        area = probabilities.sum(-1, keepdim=True) + truth.sum(-1)
        dice_cost = 1 - (2 * intersection + 1) / (area + 1)
        return self.class_weight * class_cost + self.mask_weight * mask_cost + self.dice_weight * dice_cost


def _to_host(costs: list[Tensor]) -> list[Tensor]:
    """Copies all matrices to the CPU at once, so that the device is waited for once a layer."""
    flat = torch.cat([cost.flatten() for cost in costs]).cpu()
    parts = flat.split([cost.numel() for cost in costs])
    return [part.view(cost.shape) for part, cost in zip(parts, costs, strict=True)]


def _blame(where: str, class_logits: Tensor, mask_logits: Tensor, masks: Tensor) -> str:
    tensors = {"class_logits": class_logits, "mask_logits": mask_logits, "target masks": masks}
    bad = [key for key, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    what = " and ".join(bad) if bad else "the matching cost, from finite predictions,"
    return f"{where}: {what} not finite (NaN or infinity)"

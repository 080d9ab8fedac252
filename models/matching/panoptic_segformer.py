"""The two matchings of Panoptic SegFormer: by location, which also filters the queries, then by mask.

Li et al. 2022, sections 3.3.2 and 3.4, appendices A.1 and B.2, and the released code (commit cdb9b68).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.matching.base import Match, assign
from models.matching.boxes import BoxMatcher, target_boxes
from models.outputs import MaskTarget
from models.precision import autocast_disabled


def target_locations(target: MaskTarget, coordinates: int) -> Tensor:
    """What the location decoder is to predict of each target: [N, 4] boxes, or [N, 2] centres of mass."""
    return target_boxes(target) if coordinates == 4 else mass_centres(target.masks)


def mass_centres(masks: Tensor) -> Tensor:
    """Centres of mass (x, y) [N, 2] of masks [N, H, W], in [0, 1]; pixel i is at (i + 0.5) / size.

    An empty mask gives (0, 0). The box-free location decoder predicts these (section 3.3.2, Table 6).
    """
    masks = masks.float()
    height, width = masks.shape[1:]
    across = (torch.arange(width, device=masks.device) + 0.5) / width
    down = (torch.arange(height, device=masks.device) + 0.5) / height
    area = masks.sum((1, 2)).clamp(min=1)
    return torch.stack([masks.sum(1) @ across, masks.sum(2) @ down], 1) / area[:, None]


class LocationMatcher(nn.Module):
    """Hungarian matching of one layer of the location decoder, and the query filter.

    The cost is `BoxMatcher`'s with the focal class cost; of centres (the box-free variant) only the class and
    the L1 term, as only L1 supervises them (appendix A.1).
    """

    def __init__(self, class_weight: float = 2.0, l1_weight: float = 5.0, giou_weight: float = 2.0) -> None:
        super().__init__()
        self.boxes = BoxMatcher("focal", class_weight, l1_weight, giou_weight)
        self.centres = BoxMatcher("focal", class_weight, l1_weight, 0.0)

    @torch.no_grad()
    def forward(
        self,
        class_logits: Tensor,
        locations: Tensor,
        labels: Sequence[Tensor],
        truths: Sequence[Tensor],
        rounds: int = 1,
        name: str = "output",
    ) -> tuple[list[Match], list[Tensor]]:
        """The match of each image, and its queries for the mask decoder, ascending.

        Args:
            class_logits: [B, Q, K], of sigmoids.
            locations: [B, Q, 4] or [B, Q, 2].
            labels: B of [N_i].
            truths: B of [N_i, 4] or [N_i, 2].
            rounds: the filter matches up to so often, each time the queries that are still free (appendix
                B.2), as long as there are N_i of them. The match returned is the first round's. The released
                code means to do 3 and stops after the first.
            name: how an error message calls the output.

        Raises:
            NonFiniteError: a cost is NaN or infinite.
        """
        costs = self.costs(class_logits, locations, labels, truths)
        inputs = _inputs(class_logits, locations, truths)
        first = assign(costs, name, inputs)
        chosen = [queries for queries, _ in first]
        for done in range(1, rounds):
            free = [_others(queries, len(cost)) for queries, cost in zip(chosen, costs, strict=True)]
            rest = [
                cost[rows, : cost.shape[1] if len(cost) >= (done + 1) * cost.shape[1] else 0]
                for cost, rows in zip(costs, free, strict=True)
            ]
            more = [rows[match[0]] for rows, match in zip(free, assign(rest, name, inputs), strict=True)]
            chosen = [torch.cat(both).sort().values for both in zip(chosen, more, strict=True)]
        return first, chosen

    def costs(
        self,
        class_logits: Sequence[Tensor] | Tensor,
        locations: Sequence[Tensor] | Tensor,
        labels: Sequence[Tensor],
        truths: Sequence[Tensor],
    ) -> list[Tensor]:
        """[Q_i, N_i] for each image."""
        return [self._cost(*image) for image in zip(class_logits, locations, labels, truths, strict=True)]

    def _cost(self, class_logits: Tensor, locations: Tensor, labels: Tensor, truths: Tensor) -> Tensor:
        matcher, truths = self.boxes, truths.to(locations.device)
        if locations.shape[-1] == 2:  # as boxes of one size, whose overlap has no weight
            matcher, locations, truths = self.centres, _unit_boxes(locations), _unit_boxes(truths)
        with autocast_disabled(locations.device.type):
            return matcher.cost(class_logits.float(), locations.float(), labels, truths.float())


class ChosenMatcher(nn.Module):
    """The second matching: the queries that the filter chose, by location and by mask (section 3.4).

    cost = `LocationMatcher`'s + mask_weight * dice, dice = 1 - 2 sum(p t) / (sum(p^2) + sum(t^2) + 0.002).
    The released code doubles the weight of the class cost here; the default is what results.
    """

    def __init__(
        self,
        class_weight: float = 4.0,
        l1_weight: float = 5.0,
        giou_weight: float = 2.0,
        mask_weight: float = 2.0,
    ) -> None:
        super().__init__()
        self.location = LocationMatcher(class_weight, l1_weight, giou_weight)
        self.mask_weight = mask_weight

    @torch.no_grad()
    def forward(
        self,
        class_logits: Sequence[Tensor],
        locations: Sequence[Tensor],
        masks: Sequence[Tensor],
        labels: Sequence[Tensor],
        truths: Sequence[Tensor],
        true_masks: Sequence[Tensor],
        name: str = "masks of things",
    ) -> list[Match]:
        """Matches the chosen queries of each image; indices count the chosen ones.

        Args:
            class_logits: B of [n_i, K], of the last location layer.
            locations: B of [n_i, 4] or [n_i, 2], of the last location layer.
            masks: B of [n_i, h, w], the final ones.
            labels: B of [N_i].
            truths: B of [N_i, 4] or [N_i, 2].
            true_masks: B of [N_i, h, w] in [0, 1].
            name: how an error message calls the output.

        Raises:
            NonFiniteError: a cost is NaN or infinite.
        """
        costs = [
            cost + self.mask_weight * dice_costs(mask.float(), truth.float())
            for cost, mask, truth in zip(
                self.location.costs(class_logits, locations, labels, truths), masks, true_masks, strict=True
            )
        ]
        return assign(costs, name, _inputs(class_logits, locations, truths, masks))


def dice_costs(masks: Tensor, truths: Tensor, eps: float = 0.001) -> Tensor:
    """1 - 2 sum(p t) / (sum(p^2) + sum(t^2) + 2 eps) of all pairs: [n, h, w], [N, h, w] -> [n, N]."""
    masks, truths = masks.flatten(1), truths.flatten(1)
    area = (masks.square().sum(1) + eps)[:, None] + truths.square().sum(1) + eps
    return 1 - 2 * (masks @ truths.T) / area


def _others(rows: Tensor, count: int) -> Tensor:
    """The numbers 0..count-1 that are not in `rows`."""
    return torch.ones(count, dtype=torch.bool, device=rows.device).index_fill(0, rows, False).nonzero()[:, 0]


def _unit_boxes(centres: Tensor) -> Tensor:
    """[..., 2] to boxes [..., 4] of width and height 1."""
    return torch.cat([centres, torch.ones_like(centres)], -1)


def _inputs(
    class_logits: Sequence[Tensor] | Tensor,
    locations: Sequence[Tensor] | Tensor,
    truths: Sequence[Tensor],
    masks: Sequence[Tensor] | None = None,
) -> Callable[[int], dict[str, Tensor]]:
    """By image, the tensors that an error message names."""

    def of_image(i: int) -> dict[str, Tensor]:
        found = {"class_logits": class_logits[i], "boxes": locations[i], "targets": truths[i]}
        return found if masks is None else {**found, "masks": masks[i]}

    return of_image

"""What Panoptic SegFormer is trained with (Li et al. 2022, section 3.4; weights of the released code).

L = lambda_things L_things + lambda_stuff L_stuff (equation 3); the lambdas are the shares of things and of
stuff among the objects (appendix A.1). Things are matched; stuff query k always answers for stuff class k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from models.losses.base import check_targets, matched_labels, matched_rows, mean_count
from models.losses.boxes import box_giou_loss, box_l1_loss, focal_class_loss
from models.losses.mask_layers import mask_losses, of_classes, of_layers, resize_masks
from models.matching.base import NonFiniteError
from models.matching.panoptic_segformer import ChosenMatcher, LocationMatcher, target_locations
from models.outputs import MaskTarget
from models.panoptic_output import Location, MaskDecoding, PanopticSegFormerOutput
from models.precision import autocast_disabled
from models.spec import Spec, SpecError


@dataclass(frozen=True, kw_only=True)
class PanopticSegFormerLossSpec(Spec):
    """Weights of losses and matching costs; the defaults are the released code's.

    The paper prints only lambda_cls, lambda_seg, lambda_det = 2, 1, 1 (appendix A.1).
    """

    part: ClassVar[str] = "panoptic_segformer_loss"
    least: ClassVar[dict[str, int]] = {"num_things": 1, "rounds": 1}

    num_things: int | None = 80
    """Classes 0..num_things-1 are things and are matched, the others have a stuff query each. None: queries
    are matched with things and stuff alike (joint matching, Table 8)."""
    class_weight: float = 2.0
    """Focal loss of each location layer."""
    l1_weight: float = 5.0
    giou_weight: float = 2.0
    mask_weight: float = 2.0
    """Dice loss of each mask (paper: lambda_seg = 1)."""
    stuff_class_weight: float = 4.0
    """Focal loss of each layer's stuff classes (the released code doubles the 2; paper: lambda_cls = 2)."""
    thing_class_weight: float = 0.0
    """Focal loss of the thing classes of each layer of the mask decoder. The released code has these heads
    without using them; the paper trains them (equation 4, lambda_cls = 2)."""
    rounds: int = 1
    """Rounds of matching by which the query filter chooses (appendix B.2); the released code means to do 3,
    but stops after 1."""
    match_class_weight: float = 4.0
    """Class cost of the matching with masks: the released code doubles the 2."""
    match_mask_weight: float = 2.0
    """Dice cost of the matching with masks."""
    stuff_class_without_things: bool = False
    """Train the stuff classes of images without things. The released code does not (its test for "no queries"
    reads a variable that the loop over things left behind). True is what the paper describes, and the better
    choice for data with many such images."""
    deep_supervision: bool = True
    """Supervise the masks and classes of every layer of the mask decoder, not of the last alone."""

    def build(self, num_classes: int) -> PanopticSegFormerCriterion:
        """The criterion for `num_classes` classes of things and stuff together (133 of COCO).

        Raises:
            SpecError: more classes of things than classes.
        """
        return PanopticSegFormerCriterion(self, num_classes)


class Things(NamedTuple):
    """What is matched: B targets, and where each object is, B of [N_i, 4] or [N_i, 2]."""

    targets: list[MaskTarget]
    locations: list[Tensor]

    @property
    def labels(self) -> list[Tensor]:
        """B of [N_i]."""
        return [target.labels for target in self.targets]


class PanopticSegFormerCriterion(nn.Module):
    """Matches, decodes the masks of the matched queries, compares; holds no parameters.

    A sum over things is divided by their number n_th and multiplied by lambda_things = n_th / (n_th + n_st),
    and stuff likewise: in effect both are divided by n_th + n_st.
    """

    def __init__(self, spec: PanopticSegFormerLossSpec, num_classes: int) -> None:
        super().__init__()
        self.spec, self.num_classes = spec, num_classes
        self.num_things = num_classes if spec.num_things is None else spec.num_things
        self.num_stuff = num_classes - self.num_things
        if self.num_stuff < 0:
            raise SpecError(f"loss.num_things {self.num_things} is more than num_classes {num_classes}")
        self.locate = LocationMatcher(spec.class_weight, spec.l1_weight, spec.giou_weight)
        self.match = ChosenMatcher(
            spec.match_class_weight, spec.l1_weight, spec.giou_weight, spec.match_mask_weight
        )

    def normaliser(
        self,
        targets: Sequence[MaskTarget],
        device: torch.device | str,
        output: PanopticSegFormerOutput | None = None,
    ) -> dict[str, float]:
        """The things and the stuff segments in the batch, each averaged over the processes and at least 1,
        whatever the `output`."""
        things = sum(int((target.labels < self.num_things).sum()) for target in targets)
        stuff = sum(len(target.labels) for target in targets) - things
        return {"things": mean_count(things, device), "stuff": mean_count(stuff, device)}

    def forward(
        self,
        output: PanopticSegFormerOutput,
        targets: Sequence[MaskTarget],
        normaliser: Mapping[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """Losses, weighted and ready to be summed; without targets they still depend on every prediction.

        "class", "box" and "giou" (not of a box-free model) of the last location layer, "aux0/class", ... of
        the earlier; "thing_mask" and "stuff_mask" of the final masks, "thing_class", "thing_box" and
        "stuff_class" of the last block, "aux0/thing_mask", ... of the earlier. With the released weights the
        mask decoder's "thing_class" is 0; its "thing_box" always is.

        Args:
            output: of a model in training mode, or of one that can still decode.
            targets: B targets, labels in 0..num_classes-1, masks [N_i, H, W] of the padded input.
            normaliser: the counts n_th and n_st, by default `self.normaliser(targets)`.

        Raises:
            ValueError: targets that do not fit, or an output of another number of classes.
            NonFiniteError: a prediction is NaN or infinite.
        """
        size = None if output.stuff is None else output.stuff.masks[-1].shape[-2:]
        check_targets(targets, len(output.class_logits), self.num_classes, size)
        self._check(output)
        device = output.class_logits.device
        counts = self.normaliser(targets, device) if normaliser is None else normaliser
        count = counts["things"] + (counts["stuff"] if self.num_stuff else 0.0)
        matched = [of_classes(target, 0, self.num_things) for target in targets]
        coordinates = output.boxes.shape[-1]
        things = Things(matched, [target_locations(target, coordinates).to(device) for target in matched])
        losses: dict[str, Tensor] = {}
        chosen: list[Tensor] = []
        for i, location in enumerate(output.locations):
            last = i == len(output.locations) - 1
            terms, chosen = self._location(location, things, count, "last" if last else str(i))
            losses |= terms if last else {f"aux{i}/{key}": loss for key, loss in terms.items()}
        assert output.decode is not None  # checked above
        decoded = output.decode(_padded(chosen, device))
        with autocast_disabled(device.type):
            losses |= self._things(output, decoded, things, chosen, count)
            if output.stuff is not None:
                losses |= self._stuff(output.stuff, targets, count)
        _refuse_non_finite(losses, output, decoded)
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The sum that is minimised."""
        return torch.stack(list(losses.values())).sum()

    def _check(self, output: PanopticSegFormerOutput) -> None:
        stuff = 0 if output.stuff is None else output.stuff.masks[-1].shape[1]
        found, expected = (output.class_logits.shape[-1], stuff), (self.num_things, self.num_stuff)
        if found != expected:
            raise ValueError(f"the output has {found} matched classes and stuff queries, expected {expected}")
        if output.decode is None:
            raise ValueError("the output cannot decode masks of chosen queries: its `decode` is None")

    def _location(
        self, location: Location, things: Things, count: float, layer: str
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Losses of one location layer by a matching of its own, and the queries that the filter chooses."""
        rounds, name = self.spec.rounds if layer == "last" else 1, f"location layer {layer}"
        matches, chosen = self.locate(*location, things.labels, things.locations, rounds, name)
        queries = location.class_logits.shape[1]
        labels = matched_labels(matches, things.targets, queries, self.num_things)
        predicted, truth = matched_rows(matches, things.targets, queries)
        with autocast_disabled(labels.device.type):
            found = location.boxes.float().flatten(0, 1)[predicted]
            true = torch.cat(things.locations)[truth]
            focal = focal_class_loss(location.class_logits.float(), labels, count)
            losses = {"class": focal * self.spec.class_weight}
            losses["box"] = box_l1_loss(found, true, count) * self.spec.l1_weight
            if found.shape[-1] == 4:
                losses["giou"] = box_giou_loss(found, true, count) * self.spec.giou_weight
        return losses, chosen

    def _things(
        self,
        output: PanopticSegFormerOutput,
        decoded: MaskDecoding,
        things: Things,
        chosen: list[Tensor],
        count: float,
    ) -> dict[str, Tensor]:
        """Losses of the chosen queries' masks, all layers by one matching with the final masks."""
        spec, final = self.spec, decoded.masks[-1]
        masks = torch.cat([target.masks for target in things.targets])
        small = resize_masks(masks, final.shape[-2:]).split([len(labels) for labels in things.labels])
        matches = self.match(
            [logits[queries] for logits, queries in zip(output.class_logits, chosen, strict=True)],
            [boxes[queries] for boxes, queries in zip(output.boxes, chosen, strict=True)],
            [found[: len(queries)] for found, queries in zip(final, chosen, strict=True)],
            things.labels,
            things.locations,
            small,
        )
        predicted, truth = matched_rows(matches, things.targets, final.shape[1])
        dice = [loss / count for loss in mask_losses(decoded.masks, predicted, masks[truth])]
        losses = of_layers("thing_mask", dice, spec.mask_weight, not spec.deep_supervision)
        # What follows is weighted 0 in the released code; the heads stay in the graph, as there.
        labels = matched_labels(matches, things.targets, final.shape[1], self.num_things)
        used = torch.stack([torch.arange(final.shape[1], device=final.device) < len(c) for c in chosen])
        focal = [focal_class_loss(x.float()[used], labels[used], count) for x in decoded.class_logits]
        losses |= of_layers("thing_class", focal, spec.thing_class_weight, not spec.deep_supervision)
        return losses | of_layers("thing_box", [boxes.float().sum() for boxes in decoded.boxes], 0.0, False)

    def _stuff(self, decoded: MaskDecoding, targets: Sequence[MaskTarget], count: float) -> dict[str, Tensor]:
        """Losses of the stuff queries; segments of the same class are one."""
        spec, device = self.spec, decoded.masks[-1].device
        stuff = [of_classes(target, self.num_things, self.num_classes) for target in targets]
        rows = torch.cat([target.labels + i * self.num_stuff for i, target in enumerate(stuff)])
        present, which = rows.unique(return_inverse=True)
        masks = torch.cat([target.masks for target in stuff])
        union = torch.zeros(len(present), *masks.shape[1:], dtype=torch.int32, device=device)
        union = union.index_add_(0, which, masks.to(torch.int32)) > 0
        dice = [loss / count for loss in mask_losses(decoded.masks, present, union)]
        absent = torch.ones(len(targets) * self.num_stuff, dtype=torch.int64, device=device)
        labels = absent.index_fill_(0, present, 0).view(len(targets), self.num_stuff)
        trained = torch.tensor(
            [spec.stuff_class_without_things or bool((t.labels < self.num_things).any()) for t in targets],
            device=device,
        )
        focal = [focal_class_loss(x.float()[trained], labels[trained], count) for x in decoded.class_logits]
        last_only = not spec.deep_supervision
        losses = of_layers("stuff_mask", dice, spec.mask_weight, last_only)
        return losses | of_layers("stuff_class", focal, spec.stuff_class_weight, last_only)


def _padded(chosen: Sequence[Tensor], device: torch.device) -> Tensor:
    """[B, n] from B of [n_i], -1 behind an image's own. n is at least 1 (query 0 if no image has any), so
    every process builds the same graph."""
    width = max(len(queries) for queries in chosen)
    selected = torch.full((len(chosen), max(1, width)), -1 if width else 0, dtype=torch.int64, device=device)
    for row, queries in zip(selected, chosen, strict=True):
        row[: len(queries)] = queries
    return selected


def _refuse_non_finite(
    losses: dict[str, Tensor], output: PanopticSegFormerOutput, decoded: MaskDecoding
) -> None:
    if bool(torch.stack(list(losses.values())).isfinite().all()):
        return
    layers = {"location class_logits": [at.class_logits for at in output.locations]}
    layers |= {"location boxes": [at.boxes for at in output.locations], "thing masks": decoded.masks}
    if output.stuff is not None:
        layers |= {"stuff masks": output.stuff.masks, "stuff class_logits": output.stuff.class_logits}
    bad = [name for name, found in layers.items() if not all(bool(x.isfinite().all()) for x in found)]
    lost = [name for name, loss in losses.items() if not bool(loss.isfinite())]
    raise NonFiniteError(f"output: {' and '.join(bad or lost)} not finite (NaN or infinity)")

"""What Panoptic SegFormer returns, and how its criterion asks for the masks of the queries it has chosen.

The query filter (Li et al. 2022, section 3.3 and appendix B.2) picks the queries of the mask decoder: in
evaluation by score, in training by matching with the targets. Therefore the model decodes masks of things by
itself only in evaluation; in training its output has `things` None, and the criterion calls
`output.decode(selected)` once, with the queries that it matched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Location(NamedTuple):
    """Predictions of one layer of the location decoder.

    Attributes:
        class_logits: [B, Q, K] for sigmoid scores, K = 80 things (all 133 classes with joint matching).
        boxes: [B, Q, 4], (centre x, centre y, width, height) in [0, 1] of the image without its padding; the
            box-free variant gives [B, Q, 2], the centre of mass alone.
    """

    class_logits: Tensor
    boxes: Tensor


@dataclass
class MaskDecoding:
    """What a mask decoder of L blocks gives for N queries; lists run from the earliest layer on.

    Attributes:
        masks: L + 1 (the tail comes last) of [B, N, h, w], at 1/8 of the padded images. As released they end
            in a ReLU: >= 0, no sigmoid, foreground above 0.5.
        queries: L of [B, N, C], refined by each block.
        class_logits: L of [B, N, K'] from the refined queries: 80 for things (in the released code trained
            with weight 0 and unused), 1 for stuff, whose query n stands for stuff class n.
        boxes: L of [B, N, 4] as in `Location`, of things (weight 0, unused); empty for stuff.
    """

    masks: list[Tensor]
    queries: list[Tensor] = field(default_factory=list)
    class_logits: list[Tensor] = field(default_factory=list)
    boxes: list[Tensor] = field(default_factory=list)

    def of(self, selected: Tensor) -> MaskDecoding:
        """The same of chosen queries; `selected` as in `Decode`."""
        lists = (self.masks, self.queries, self.class_logits, self.boxes)
        return MaskDecoding(*([rows(layer, selected) for layer in layers] for layers in lists))


def rows(values: Tensor, selected: Tensor) -> Tensor:
    """Of [B, Q, ...] the rows `selected` [B, N] int64, [B, N, ...]; zeros where it is -1."""
    index = selected.clamp(min=0).view(*selected.shape, *[1] * (values.dim() - 2))
    taken = values.gather(1, index.expand(-1, -1, *values.shape[2:]))
    return torch.where(selected.view_as(index) < 0, 0, taken)


Decode = Callable[[Tensor], MaskDecoding]
"""`decode(selected)`: the masks of chosen queries of the last location layer.

`selected` is [B, N] int64, an index in 0..Q-1, or -1 where an image has fewer (the query is then zero; its
predictions mean nothing). N may be 0. Gradients flow into the model; it runs under the autocast state of the
forward pass.
"""


@dataclass
class PanopticSegFormerOutput:
    """Predictions of Panoptic SegFormer.

    Attributes:
        locations: of each layer of the location decoder, earliest first. If it has none (Table 6), what the
            mask decoder's blocks say of all queries.
        stuff: of the stuff queries; None with joint matching.
        things: of the selected queries; None in training until the criterion has decoded them.
        selected: [B, S] int64, the query of each kept (query, class) pair, best first (S = 100, or Q * K if
            fewer); a query may come twice with different classes. None in training.
        selected_labels: [B, S] int64, the classes of these pairs.
        selected_scores: [B, S], their sigmoid scores.
        decode: see `Decode`.
    """

    locations: list[Location]
    stuff: MaskDecoding | None
    things: MaskDecoding | None = None
    selected: Tensor | None = None
    selected_labels: Tensor | None = None
    selected_scores: Tensor | None = None
    decode: Decode | None = None

    @property
    def class_logits(self) -> Tensor:
        """[B, Q, K] of the last location layer."""
        return self.locations[-1].class_logits

    @property
    def boxes(self) -> Tensor:
        """[B, Q, 4] of the last location layer."""
        return self.locations[-1].boxes

    @property
    def thing_masks(self) -> Tensor:
        """[B, S, h, w], the final masks of the selected pairs, at 1/8 of the padded images.

        Raises ValueError in training mode, where the criterion chooses what is decoded.
        """
        if self.things is None:
            raise ValueError("no masks of things: in training mode the criterion decodes them, call eval()")
        return self.things.masks[-1]

    @property
    def stuff_masks(self) -> Tensor:
        """[B, 53, h, w], the final masks of stuff. Raises ValueError with joint matching."""
        return self._of_stuff().masks[-1]

    @property
    def stuff_logits(self) -> Tensor:
        """[B, 53, 1], class logits of the last block of stuff. Raises ValueError with joint matching."""
        return self._of_stuff().class_logits[-1]

    def _of_stuff(self) -> MaskDecoding:
        if self.stuff is None:
            raise ValueError("no queries of stuff: with joint matching it is among what was selected")
        return self.stuff

    @property
    def thing_mask_layers(self) -> list[Tensor]:
        """Masks of things after each block and the tail."""
        return self.things.masks if self.things else []

    @property
    def stuff_mask_layers(self) -> list[Tensor]:
        """Masks of stuff after each block and the tail."""
        return self.stuff.masks if self.stuff else []

    @property
    def stuff_class_layers(self) -> list[Tensor]:
        """Class logits of stuff after each block, [B, 53, 1]."""
        return self.stuff.class_logits if self.stuff else []


torch.export.register_dataclass(MaskDecoding)
torch.export.register_dataclass(PanopticSegFormerOutput)

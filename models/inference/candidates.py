"""Scored masks: what the merging methods of Panoptic SegFormer's paper take from any system."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.inference.base import Frame, crop_and_resize, resize
from models.inference.sliced import CHUNK
from models.outputs import BoxOutput, SegmentationOutput
from models.panoptic_output import PanopticSegFormerOutput


class Candidates(NamedTuple):
    """The scored masks of one image.

    Attributes:
        scores: [N] class probabilities.
        labels: [N] int64 classes.
        masks: [N, h, w] as predicted, before any resizing.
        logits: the masks are logits, of which the sigmoid is taken after resizing; else they are >= 0.
        num_classes: K, of things and stuff together.
    """

    scores: Tensor
    labels: Tensor
    masks: Tensor
    logits: bool
    num_classes: int

    def take(self, rows: Tensor) -> Candidates:
        """Those of the given rows, or of a mask of rows [N]."""
        return self._replace(scores=self.scores[rows], labels=self.labels[rows], masks=self.masks[rows])

    def peaks(self) -> Tensor:
        """[N], which no value of the resized masks exceeds."""
        if not self.masks.numel():
            return self.scores.new_zeros(len(self.scores))
        highest = self.masks.flatten(1).amax(1)
        return highest.sigmoid() if self.logits else highest

    def resized(self, frame: Frame) -> Iterator[Tensor]:
        """Masks [n, *frame.output_size] of all candidates in order, some at a time.

        Logits go to the padded size first, where the padding is cut, and from there to the result's size, as
        in the systems that give them. The others, Panoptic SegFormer's, are resized once, as released, if
        there is no padding.
        """
        size = max(frame.output_size[0] * frame.output_size[1], frame.padded_size[0] * frame.padded_size[1])
        for part in self.masks.split(max(1, CHUNK // size)) if len(self.masks) else ():
            if frame.image_size == frame.padded_size and not self.logits:
                part = resize(part[None], frame.output_size)[0]
            else:
                whole = resize(part[None], frame.padded_size)
                part = crop_and_resize(whole, frame.image_size, frame.output_size)[0]
            yield part.sigmoid() if self.logits else part

    def whole(self, frame: Frame) -> Tensor:
        """Masks [N, *frame.output_size], all at once."""
        return torch.cat([self.masks.new_zeros(0, *frame.output_size), *self.resized(frame)])


def candidates(output: Any, stuff: bool = True) -> list[Candidates]:
    """The candidates of each image of a batch.

    Args:
        output: of Panoptic SegFormer: the selected pairs of thing query and class, then the stuff queries. Of
            mask classification (MaskFormer, Mask2Former, DETR, ...): the queries whose most probable class is
            not "no object".
        stuff: also Panoptic SegFormer's stuff queries.

    Raises:
        TypeError: an output of another kind.
        ValueError: an output without masks (of Panoptic SegFormer in training mode, of a detector without a
            mask head).
    """
    if isinstance(output, PanopticSegFormerOutput):
        return _of_panoptic_segformer(output, stuff)
    if not isinstance(output, SegmentationOutput):
        raise TypeError(
            f"expected a SegmentationOutput or PanopticSegFormerOutput, got {type(output).__name__}"
        )
    if output.mask_logits is None:
        raise ValueError("the output has no masks: its model is without a mask head")
    logits = output.class_logits.float()
    classes = logits.shape[-1] - 1
    if isinstance(output, BoxOutput):
        output = replace(output, class_logits=logits)
        scores, labels = output.best()
        kept, classes = labels >= 0, output.probabilities().shape[-1]
    else:
        scores, labels = logits.softmax(-1).max(-1)
        kept = labels < classes
    return [
        Candidates(scores[i], labels[i], masks.float(), True, classes).take(kept[i])
        for i, masks in enumerate(output.mask_logits)
    ]


def _of_panoptic_segformer(output: PanopticSegFormerOutput, stuff: bool) -> list[Candidates]:
    if output.things is None or output.selected_scores is None or output.selected_labels is None:
        raise ValueError("the output has no masks of things: the model was in training mode, call eval()")
    things = output.class_logits.shape[-1]
    scores, labels, masks = output.selected_scores, output.selected_labels, output.thing_masks
    num_classes = things
    if output.stuff is not None:
        num_classes += output.stuff_masks.shape[1]
        if stuff:
            classes = torch.arange(things, num_classes, device=labels.device)
            scores = torch.cat([scores, output.stuff_logits[..., 0].sigmoid()], 1)
            labels = torch.cat([labels, classes.expand(len(labels), -1)], 1)
            masks = torch.cat([masks, output.stuff_masks], 1)
    return [
        Candidates(s.float(), c, m.float(), False, num_classes)
        for s, c, m in zip(scores, labels, masks, strict=True)
    ]

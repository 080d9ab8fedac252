"""Where a count ends: what the released code gave when the papers' tools ran it.

An end takes a model's inference, its output and the sizes of the image, and gives the tensors that must be
computed. The rest of post-processing picks, sorts and compares, which counts nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from bench.protocol.tape import Followed
from models.inference import Frame, Inference, semantic_inference
from models.inference.mask_classification import full_masks

End = Callable[[Inference, Any, Frame], Any]


def scores(inference: Inference, output: Any, frame: Frame) -> Any:
    """Class scores [1, K, *output_size]: semantic inference."""
    return inference.semantic(output, frame)


def masks(inference: Inference, output: Any, frame: Frame) -> Any:
    """Classes, and masks [1, Q, *output_size]: panoptic and instance inference."""
    return output.class_logits, full_masks(output.mask_logits, *frame)


def masks_and_scores(inference: Inference, output: Any, frame: Frame) -> Any:
    """The same and class scores of these masks: a configuration that gives results of all tasks."""
    return semantic_inference(output, *frame, masks_first=True)


def predictions(inference: Inference, output: Any, frame: Frame) -> Any:
    """What the model returns, without post-processing."""
    return list(_tensors(output))


def everything(inference: Inference, output: Any, frame: Frame) -> Any:
    """What the model returns, its auxiliary predictions as well."""
    return Followed(list(_tensors(output)), auxiliary(output))


def located_and_masked(inference: Inference, output: Any, frame: Frame) -> Any:
    """Predictions of all layers, without the classes and boxes of things in the mask decoder: Panoptic
    SegFormer's released inference does not compute those."""
    return output.locations, output.thing_mask_layers, output.stuff_mask_layers, output.stuff_class_layers


def scores_of_stack(inference: Inference, output: Any, frame: Frame) -> Any:
    """Class scores, where the released code computes the auxiliary predictions with the last one."""
    return Followed(scores(inference, output, frame), auxiliary(output))


def masks_and_scores_of_stack(inference: Inference, output: Any, frame: Frame) -> Any:
    """The same with class scores of masks at the size of the results."""
    return Followed(masks_and_scores(inference, output, frame), auxiliary(output))


def auxiliary(output: Any) -> list[Tensor]:
    """All tensors of the auxiliary predictions."""
    return [tensor for earlier in output.auxiliary for tensor in _tensors(earlier)]


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors in an output, its lists and its parts, but not its auxiliary predictions."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if field.name != "auxiliary":
                yield from _tensors(getattr(value, field.name))


ENDS: Mapping[str, End] = {
    end.__name__: end
    for end in (
        scores,
        masks,
        masks_and_scores,
        predictions,
        everything,
        located_and_masked,
        scores_of_stack,
        masks_and_scores_of_stack,
    )
}

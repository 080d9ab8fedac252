"""Where queries look: the share of attention on the foreground, and how it correlates with masks.

Foreground share: Mask2Former, appendix C.2 and Figure Ib, "cumulative attention weights on foreground
(defined by the matching ground truth to each prediction) and background for all queries". Here the matching
is that of training (on all pixels, so that nothing is random), a query without a match has no foreground and
does not count, and each resolution's map is that of the last layer at it, as in Figure Ia. Those three the
paper leaves open.

Correlation: PFT, section IV-C and Figure 5, "the pearson correlation coefficient between the attention
weights and the binary masks" of the ground truth. Here over the pixels of a scale, for each class of an
image, of the last layer, with the weights of equation 7; then the mean over classes and images, and over
scales. Layer, scale and means the paper leaves open. Beside it stands the same with predicted masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.base import DatasetInfo, Sample, SegmentationDataset
from bench.data.targets import Targets
from bench.errors import UserError
from bench.evaluate.attention_maps import AttentionMaps, Average
from bench.evaluate.predict import TestSpec, first_output
from models.inference import Frame, Task
from models.losses.mask import MaskLossSpec
from models.losses.pft import PyramidLossSpec
from models.matching.masks import HungarianMatcher
from models.outputs import MaskTarget

Tally = dict[str, Any]
Progress = Callable[[Iterable[Sample]], Iterable[Sample]]
AS_IT_IS = TestSpec()


class AttentionStatistics:
    """Statistics of attention, gathered over images as scores are (`image`, then `total`).

    Args:
        info: the classes as the model has them.
        task: of the model: what its queries stand for.
        test: how an image is shown; one scale, not mirrored.
        average: of the heads; None: "logits" for models that are trained with PFT's loss, else "weights".
    """

    def __init__(
        self, info: DatasetInfo, task: Task, test: TestSpec = AS_IT_IS, average: Average | None = None
    ) -> None:
        if len(test.scales) > 1 or test.flip:
            raise UserError("attention is looked at in one view of an image, not in several")
        self.test, self.average = test, average
        self._targets = Targets(task, info.things, info.ignore_index)

    @torch.inference_mode()
    def image(
        self, model: nn.Module, sample: Sample, device: torch.device | str = "cpu", number: int = 0
    ) -> Tally:
        """What an image adds: by stride, how many queries have a foreground, and sums over them. `model` is
        in evaluation mode. Raises UserError for a model without maps of attention."""
        of_pft = isinstance(getattr(model.spec, "loss", None), PyramidLossSpec)
        with AttentionMaps(model, self.average or ("logits" if of_pft else "weights")) as maps:
            output, frame = first_output(model, sample.image, self.test, device)
        target = _framed(self._targets(sample), frame, device)
        queries, rows = _matched(model, output, target)
        predicted = output.mask_logits[0, queries].float().sigmoid()
        strides = {
            str(stride): _sums(weights[0, queries], target.masks[rows], predicted)
            for stride, weights in maps.last(frame.padded_size).items()
        }
        return {"image": number, "strides": strides}

    def total(self, tallies: Iterable[Tally]) -> dict[str, float]:
        """Of all images, by stride s and as the mean of the strides ("average"): "fg_s" and "bg_s", shares of
        attention in [0, 1] (the columns of Mask2Former's Figure Ib), "correlation_s" with true and
        "predicted_s" with predicted masks, and "queries", how many had a foreground; nan where none had."""
        gathered: dict[str, dict[str, list[float]]] = {}
        for tally in tallies:
            for stride, sums in tally["strides"].items():
                for name, value in sums.items():
                    gathered.setdefault(stride, {}).setdefault(name, []).append(value)
        found: dict[str, float] = {}
        for stride, sums in sorted(gathered.items(), key=lambda item: -int(item[0])):
            found |= _means({name: math.fsum(values) for name, values in sums.items()}, stride)
        for name in ("fg", "bg", "correlation", "predicted"):
            means = [found[f"{name}_{stride}"] for stride in gathered]
            found[f"{name}_average"] = sum(means) / len(means) if means else math.nan
        return {**found, "queries": max((math.fsum(s["queries"]) for s in gathered.values()), default=0.0)}


def attention_statistics(
    model: nn.Module,
    dataset: SegmentationDataset,
    task: Task,
    test: TestSpec = AS_IT_IS,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = iter,
) -> dict[str, float]:
    """All of `AttentionStatistics.total` over `dataset`, as the model sees it (`bench.tasks.TaskView`). The
    model is left in the mode it was in; `progress` wraps the iteration over samples."""
    statistics = AttentionStatistics(dataset.info, task, test)
    training = model.training
    model.eval()
    try:
        samples = progress(dataset[index] for index in range(len(dataset)))
        return statistics.total([statistics.image(model, sample, device) for sample in samples])
    finally:
        model.train(training)


def attention_share(
    model: nn.Module, dataset: SegmentationDataset, task: Task, test: TestSpec = AS_IT_IS, **how: Any
) -> dict[str, float]:
    """The shares of attention on fore- and background, as the columns of Mask2Former's Figure Ib: "fg_32",
    "bg_32", ..., "fg_average", "bg_average". `how` as in `attention_statistics`."""
    return _chosen(attention_statistics(model, dataset, task, test, **how), ("fg", "bg"))


def attention_correlation(
    model: nn.Module,
    dataset: SegmentationDataset,
    task: Task = "semantic",
    test: TestSpec = AS_IT_IS,
    **how: Any,
) -> dict[str, float]:
    """Pearson's correlation of attention and masks (PFT, Figure 5): "correlation_average" with the true masks
    and "predicted_average" with the predicted ones, and both of each stride."""
    return _chosen(attention_statistics(model, dataset, task, test, **how), ("correlation", "predicted"))


def _chosen(found: Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    return {name: value for name, value in found.items() if name.startswith(names)}


def _framed(target: MaskTarget, frame: Frame, device: torch.device | str) -> MaskTarget:
    """The target with masks float [N, *padded size], as the model saw the image."""
    masks = F.interpolate(target.masks[:, None].float().to(device), size=frame.image_size, mode="nearest")
    height, width = (whole - part for whole, part in zip(frame.padded_size, frame.image_size, strict=True))
    return MaskTarget(target.labels.to(device), F.pad(masks[:, 0], (0, width, 0, height)))


def _matched(model: nn.Module, output: Any, target: MaskTarget) -> tuple[Tensor, Tensor]:
    """Queries [M], and the row of the target's masks [M] that is each one's foreground."""
    if output.class_logits.dim() == 2:  # a query for each class
        return target.labels, torch.arange(len(target.labels), device=target.labels.device)
    weights = getattr(model.spec, "loss", None)
    if not isinstance(weights, MaskLossSpec):
        raise UserError(f"{type(model).__name__}: its queries cannot be matched by their masks alone")
    matcher = HungarianMatcher(
        weights.class_weight, weights.mask_weight, weights.dice_weight, where="masks", term=weights.term
    )
    return matcher(output.class_logits, output.mask_logits, [target])[0]


def _sums(weights: Tensor, masks: Tensor, predicted: Tensor) -> dict[str, float]:
    """Sums over queries of weights [M, h, w], true masks [M, H, W] and predicted ones [M, H', W']; and
    counts, since a mask that is the same at all pixels has no correlation."""
    size = tuple(weights.shape[-2:])
    true, guessed = (F.interpolate(m[:, None], size=size, mode="area")[:, 0] for m in (masks, predicted))
    found = {"queries": float(len(weights)), "fg": float((weights * true).sum(dtype=torch.float64))}
    for name, plane in (("correlation", true), ("predicted", guessed)):
        values = pearson(weights.flatten(1), plane.flatten(1))
        values = values[values.isfinite()]
        found |= {name: float(values.sum()), f"{name}_count": float(len(values))}
    return found


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's coefficient of each pair of rows of [M, P] and [M, P], float64 [M]; nan for a constant
    row."""
    a, b = (rows.double() - rows.double().mean(1, keepdim=True) for rows in (a, b))
    return (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt()


def _means(sums: Mapping[str, float], stride: str) -> dict[str, float]:
    def mean(name: str, count: str) -> float:
        return sums[name] / sums[count] if sums[count] else math.nan

    share = mean("fg", "queries")
    return {
        f"fg_{stride}": share,
        f"bg_{stride}": 1 - share,
        f"correlation_{stride}": mean("correlation", "correlation_count"),
        f"predicted_{stride}": mean("predicted", "predicted_count"),
    }

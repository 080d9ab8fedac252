"""Scores of a model on a data set: mIoU, PQ or AP, as its task has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from bench.data.base import Sample, SegmentationDataset
from bench.data.panoptic import panoptic
from bench.data.targets import Targets
from bench.evaluate.ap import MaskAP
from bench.evaluate.miou import mean_iou
from bench.evaluate.pq import PanopticQuality
from bench.evaluate.predict import (
    TestSpec,
    predict_instances,
    predict_panoptic,
    predict_semantic,
    require_task,
)
from models.inference import Panoptic, Task

Progress = Callable[[Iterable[Sample]], Iterable[Sample]]
AS_IT_IS = TestSpec()
Scores = dict[str, float | list[float]]


def evaluate(
    model: nn.Module,
    dataset: SegmentationDataset,
    task: Task,
    test: TestSpec = AS_IT_IS,
    *,
    device: torch.device | str | None = None,
    progress: Progress = iter,
) -> Scores:
    """The scores of `model` over all of `dataset`, one image at a time, in percent.

    semantic: as `mean_iou`. panoptic: "PQ", "SQ", "RQ" over all classes, and each with "_things" and
    "_stuff". instance: "AP", "AP50", "AP75", "APs", "APm", "APl". Each with "per_class": the IoU, PQ or AP by
    class, nan for a class that does not occur.

    `dataset`: as the model sees it, see `bench.tasks.TaskView`. `progress` wraps the iteration over samples
    (for a bar). The model is left in the mode it was in.

    Raises UserError where the model does not give results of this task, or the data has no instance labels.
    """
    require_task(model.inference, task, test)
    device = torch.device(device) if device else next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        samples = progress(dataset[index] for index in range(len(dataset)))
        return _SCORES[task](model, dataset, samples, test, device)
    finally:
        model.train(training)


def panoptic_segments(found: Panoptic) -> list[dict[str, Any]]:
    """The segments as `PanopticQuality.add` takes them, categories being classes."""
    return [{"id": segment.id, "category_id": segment.label} for segment in found.segments]


def _semantic(
    model: nn.Module, dataset: SegmentationDataset, samples: Iterable[Sample], test: TestSpec, device: Any
) -> Scores:
    pairs = ((predict_semantic(model, s.image, test, device), s.semantic) for s in samples)
    return mean_iou(pairs, dataset.info.num_classes, dataset.info.ignore_index)


def _panoptic(
    model: nn.Module, dataset: SegmentationDataset, samples: Iterable[Sample], test: TestSpec, device: Any
) -> Scores:
    info = dataset.info
    quality = PanopticQuality({label: label in info.things for label in range(info.num_classes)})
    for sample in samples:
        truth, segments = panoptic(sample, info)
        found = predict_panoptic(model, sample.image, info.things, test, device)
        quality.add(truth.numpy(), segments, found.ids.numpy(), panoptic_segments(found), sample.name)
    return _percent(quality)


def _percent(quality: PanopticQuality) -> Scores:
    results, scores = quality.results(), {}
    for group, ending in (("All", ""), ("Things", "_things"), ("Stuff", "_stuff")):
        for key in ("pq", "sq", "rq"):
            scores[key.upper() + ending] = 100 * results[group][key]
    occurs = (quality.tp + quality.fp + quality.fn)[:-1] > 0
    classes = zip(results["per_class"].values(), occurs, strict=True)
    return {**scores, "per_class": [100 * c["pq"] if there else math.nan for c, there in classes]}


def _instance(
    model: nn.Module, dataset: SegmentationDataset, samples: Iterable[Sample], test: TestSpec, device: Any
) -> Scores:
    info = dataset.info
    precision, targets = MaskAP(info.num_classes), Targets("instance", info.things, info.ignore_index)
    for sample in samples:
        truth = targets(sample)
        found = predict_instances(model, sample.image, info.things, test, device)
        precision.add(truth.labels, truth.masks, found)
    return precision.scores()


_SCORES = {"semantic": _semantic, "panoptic": _panoptic, "instance": _instance}

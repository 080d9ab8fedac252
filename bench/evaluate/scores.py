"""Scores of a model on a data set: mIoU, PQ or AP, as its task has it, from what each image adds to them.

A tally is a dictionary of JSON's types that a single image gives, `{"image": number, ...}`. Tallies come from
any process in any order; the scores are those of all of them sorted by image, to the last digit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.base import DatasetInfo, Sample, SegmentationDataset
from bench.data.panoptic import panoptic
from bench.data.targets import Targets
from bench.errors import UserError
from bench.evaluate.ap import MaskAP
from bench.evaluate.miou import ConfusionMatrix
from bench.evaluate.pq import PanopticQuality
from bench.evaluate.predict import (
    TestSpec,
    predict_instances,
    predict_panoptic,
    predict_semantic,
    require_task,
)
from models.inference import Instances, Panoptic, Task

Progress = Callable[[Iterable[Sample]], Iterable[Sample]]
AS_IT_IS = TestSpec()
Scores = dict[str, float | list[float]]
Tally = dict[str, Any]
Device = torch.device | str


def evaluate(
    model: nn.Module,
    dataset: SegmentationDataset,
    task: Task,
    test: TestSpec = AS_IT_IS,
    *,
    device: Device | None = None,
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
    scores, tallies = scorer(task, dataset.info), []
    training = model.training
    model.eval()
    try:
        for number, sample in enumerate(progress(dataset[index] for index in range(len(dataset)))):
            tallies.append(scores.image(scores.predict(model, sample.image, test, device), sample, number))
    finally:
        model.train(training)
    return scores.total(tallies)


def scorer(task: Task, info: DatasetInfo, *, boundary: bool = False) -> Scorer:
    """What scores `task` on data with the classes `info`.

    `boundary`: Boundary PQ or Boundary AP. Raises UserError for a task that has no boundary metric.
    """
    if boundary and task == "semantic":
        raise UserError("boundary metrics are of panoptic and instance results, not of semantic ones")
    return SemanticScorer(info) if task == "semantic" else _OF_SEGMENTS[task](info, boundary)


class Scorer(ABC):
    """Scores of one task on data of given classes; holds no results itself."""

    info: DatasetInfo

    @abstractmethod
    def predict(self, model: nn.Module, image: Tensor, test: TestSpec, device: Device) -> Any:
        """The results of `model`, in evaluation mode, for an image uint8 [3, H, W]."""

    @abstractmethod
    def image(self, found: Any, sample: Sample, number: int = 0) -> Tally:
        """What image `number`, with results `found`, adds to the scores."""

    @abstractmethod
    def total(self, tallies: Iterable[Tally]) -> Scores:
        """The scores of all images, see `evaluate`. Raises UserError where there is none."""


class SemanticScorer(Scorer):
    """mIoU and accuracies."""

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info

    def predict(self, model: nn.Module, image: Tensor, test: TestSpec, device: Device) -> Tensor:
        return predict_semantic(model, image, test, device)

    def image(self, found: Tensor, sample: Sample, number: int = 0) -> Tally:
        return {"image": number, **self._matrix().tally(found, sample.semantic)}

    def total(self, tallies: Iterable[Tally]) -> Scores:
        matrix = self._matrix()
        for tally in _in_order(tallies):
            matrix.merge(tally)
        return matrix.scores()

    def _matrix(self) -> ConfusionMatrix:
        return ConfusionMatrix(self.info.num_classes, self.info.ignore_index)


class PanopticScorer(Scorer):
    """PQ, SQ and RQ, of masks or of their boundaries."""

    def __init__(self, info: DatasetInfo, boundary: bool = False) -> None:
        self.info, self.boundary = info, boundary
        self._empty = self._quality()

    def predict(self, model: nn.Module, image: Tensor, test: TestSpec, device: Device) -> Panoptic:
        return predict_panoptic(model, image, self.info.things, test, device)

    def image(self, found: Panoptic, sample: Sample, number: int = 0) -> Tally:
        truth, segments = panoptic(sample, self.info)
        maps = truth.numpy(), segments, found.ids.numpy(), panoptic_segments(found)
        return {"image": number, **self._empty.tally(*maps, sample.name)}

    def total(self, tallies: Iterable[Tally]) -> Scores:
        quality = self._quality()
        for tally in _in_order(tallies):
            quality.merge(tally)
        return _percent(quality)

    def _quality(self) -> PanopticQuality:
        things = {label: label in self.info.things for label in range(self.info.num_classes)}
        return PanopticQuality(things, boundary=self.boundary)


class InstanceScorer(Scorer):
    """AP, of masks or of their boundaries."""

    def __init__(self, info: DatasetInfo, boundary: bool = False) -> None:
        self.info, self.boundary = info, boundary
        self._truth = Targets("instance", info.things, info.ignore_index)

    def predict(self, model: nn.Module, image: Tensor, test: TestSpec, device: Device) -> Instances:
        return predict_instances(model, image, self.info.things, test, device)

    def image(self, found: Instances, sample: Sample, number: int = 0) -> Tally:
        truth = self._truth.truth(sample)
        return self._precision().tally(truth.labels, truth.masks, found, truth.crowd, truth.areas, number)

    def total(self, tallies: Iterable[Tally]) -> Scores:
        precision = self._precision()
        for tally in _in_order(tallies):
            precision.merge(tally)
        return precision.scores()

    def _precision(self) -> MaskAP:
        return MaskAP(self.info.num_classes, boundary=self.boundary)


_OF_SEGMENTS: dict[Task, Callable[[DatasetInfo, bool], Scorer]] = {
    "panoptic": PanopticScorer,
    "instance": InstanceScorer,
}


def panoptic_segments(found: Panoptic) -> list[dict[str, Any]]:
    """The segments as `PanopticQuality.add` takes them, categories being classes."""
    return [{"id": segment.id, "category_id": segment.label} for segment in found.segments]


def _in_order(tallies: Iterable[Tally]) -> list[Tally]:
    """By image: sums of floating-point numbers depend on the order."""
    found = sorted(tallies, key=lambda tally: tally["image"])
    if not found:
        raise UserError("no images to score")
    return found


def _percent(quality: PanopticQuality) -> Scores:
    results, scores = quality.results(), {}
    for group, ending in (("All", ""), ("Things", "_things"), ("Stuff", "_stuff")):
        for key in ("pq", "sq", "rq"):
            scores[key.upper() + ending] = 100 * results[group][key]
    occurs = quality.tp + quality.fp + quality.fn > 0
    classes = zip(results["per_class"].values(), occurs, strict=True)
    return {**scores, "per_class": [100 * c["pq"] if there else math.nan for c, there in classes]}

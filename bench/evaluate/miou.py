"""Mean intersection over union of semantic maps.

Intersections and unions are summed over all images before they are divided, as every official evaluation does
(PASCAL VOC, ADE20K, Cityscapes, detectron2's SemSegEvaluator). Pixels labelled `ignore_index` take part in
nothing.

A class that no label and no prediction contains has no IoU and is left out of the mean. A class that is
predicted but never labelled counts as 0, as in mmsegmentation and torchmetrics; today's detectron2 leaves
such a class out as well. On a whole validation split the readings agree, because every class is labelled
there.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

IntegerMap = np.ndarray | torch.Tensor


class ConfusionMatrix:
    """Counts of (label, prediction) pixels, summed over images.

    `counts` is int64 [K, K+1]: row = label, column = prediction; the last column holds labelled pixels whose
    prediction is `ignore_index` (missed by every class).
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {num_classes}")
        if 0 <= ignore_index < num_classes:
            raise ValueError(f"ignore_index {ignore_index} is the id of one of the {num_classes} classes")
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)

    def add(self, prediction: IntegerMap, label: IntegerMap) -> None:
        """Adds one image; takes and raises what `tally` does."""
        self.merge(self.tally(prediction, label))

    def tally(self, prediction: IntegerMap, label: IntegerMap) -> dict[str, Any]:
        """What one image, two integer maps [H, W], adds, for `merge`: the places in the flattened matrix that
        are not 0, and their counts, as JSON keeps them. Nothing is added yet.

        Raises ValueError for unequal sizes and ids out of range.
        """
        prediction, label = _integer(prediction, "prediction"), _integer(label, "label")
        if prediction.shape != label.shape:
            raise ValueError(f"prediction is {prediction.shape}, label is {label.shape}")
        labelled = label != self.ignore_index
        rows = self._checked(label[labelled], "label")
        columns = prediction[labelled]
        columns = np.where(columns == self.ignore_index, self.num_classes, columns)
        self._checked(columns[prediction[labelled] != self.ignore_index], "prediction")
        width = self.num_classes + 1
        flat = np.bincount(rows * width + columns, minlength=self.counts.size)
        places = np.flatnonzero(flat)
        return {"places": places.tolist(), "pixels": flat[places].tolist()}

    def merge(self, tally: Mapping[str, Any]) -> None:
        """Adds what `tally` gave, of this matrix or one of the same classes."""
        self.counts.reshape(-1)[tally["places"]] += np.array(tally["pixels"], dtype=np.int64)

    def scores(self) -> dict[str, float | list[float]]:
        """The scores in percent: those of `mean_iou`, and two that combine them.

        `score` is the mean of mIoU and pixel accuracy, by which ADE20K's challenge ranks (Zhou et al. 2017,
        section 4.2); `frequency_weighted_iou` the mean IoU weighted with the labelled pixels of each class
        (Long et al. 2015, section 5).
        """
        squared = self.counts[:, : self.num_classes]
        correct = np.diagonal(squared).astype(np.float64)
        labelled = self.counts.sum(axis=1).astype(np.float64)
        union = labelled + squared.sum(axis=0) - correct
        iou, recall = _ratio(correct, union), _ratio(correct, labelled)
        pixels, mean = labelled.sum(), _mean(iou)
        accuracy = float(100 * correct.sum() / pixels) if pixels else float("nan")
        weighted = float(100 * np.nansum(iou * labelled) / pixels) if pixels else float("nan")
        return {
            "mIoU": mean,
            "pixel_accuracy": accuracy,
            "class_accuracy": _mean(recall),
            "score": (mean + accuracy) / 2,
            "frequency_weighted_iou": weighted,
            "per_class": [float(100 * value) for value in iou],
        }

    def _checked(self, ids: np.ndarray, what: str) -> np.ndarray:
        if ids.size and (ids.min() < 0 or ids.max() >= self.num_classes):
            wrong = ids.max() if ids.max() >= self.num_classes else ids.min()
            raise ValueError(
                f"{what} holds id {wrong}; known are 0..{self.num_classes - 1} and {self.ignore_index}"
            )
        return ids


def mean_iou(
    pairs: Iterable[tuple[IntegerMap, IntegerMap]], num_classes: int, ignore_index: int = 255
) -> dict[str, float | list[float]]:
    """Scores of (prediction, label) pairs of integer maps [H, W], in percent.

    Returns `mIoU`, `pixel_accuracy` (correct share of the labelled pixels), `class_accuracy` (mean over the
    labelled classes of the correct share of their pixels) and `per_class` (IoU by class id; nan for a class
    that neither labels nor predictions contain). All are nan where no pixel is labelled.

    Raises ValueError for maps of unequal size, ids out of range (`ignore_index` apart) and an empty `pairs`.
    """
    matrix = ConfusionMatrix(num_classes, ignore_index)
    images = 0
    for prediction, label in pairs:
        matrix.add(prediction, label)
        images += 1
    if not images:
        raise ValueError("no (prediction, label) pairs to score")
    scores = matrix.scores()
    return {name: scores[name] for name in ("mIoU", "pixel_accuracy", "class_accuracy", "per_class")}


def _integer(values: IntegerMap, what: str) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{what} must hold integers, not {array.dtype}")
    return array.astype(np.int64)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    valid = values[~np.isnan(values)]
    return float(100 * valid.mean()) if valid.size else float("nan")

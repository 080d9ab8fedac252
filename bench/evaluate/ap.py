"""Average precision of instance masks, by pycocotools: COCO's own evaluation, without files."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from models.inference import Instances

_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class MaskAP:
    """True and predicted masks, gathered over images, of classes 0 .. `num_classes` - 1."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.images: list[dict[str, Any]] = []
        self.truths: list[dict[str, Any]] = []
        self.found: list[dict[str, Any]] = []

    def add(self, labels: Tensor, masks: Tensor, instances: Instances) -> None:
        """Adds an image: true labels [N] and masks [N, H, W] (bool), and what was found in it.

        Raises ValueError for masks of another size.
        """
        if masks.shape[1:] != instances.masks.shape[1:]:
            sizes = f"{tuple(instances.masks.shape[1:])}, true ones {tuple(masks.shape[1:])}"
            raise ValueError(f"predicted masks are {sizes}")
        height, width = masks.shape[1:]
        image = len(self.images) + 1
        self.images.append({"id": image, "height": height, "width": width})
        for label, mask in zip(labels.tolist(), encode(masks), strict=True):
            self.truths.append(annotation(len(self.truths) + 1, image, label, mask))
        scores, kinds = instances.scores.tolist(), instances.labels.tolist()
        for label, score, mask in zip(kinds, scores, encode(instances.masks), strict=True):
            self.found.append({**annotation(len(self.found) + 1, image, label, mask), "score": score})

    def scores(self) -> dict[str, float | list[float]]:
        """COCO's AP (IoU 0.5 to 0.95, at most 100 masks an image), AP50, AP75, and APs, APm, APl by area, in
        percent; nan where there is no true mask. `per_class`: AP by class."""
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
            evaluation = COCOeval(self._coco(self.truths), self._coco(self.found), "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        values = [float(100 * value) if value >= 0 else math.nan for value in evaluation.stats[: len(_NAMES)]]
        precision = evaluation.eval["precision"][..., 0, -1]  # [IoU, recall, class] of all areas
        per_class = [_percent(precision[:, :, k]) for k in range(self.num_classes)]
        return {**dict(zip(_NAMES, values, strict=True)), "per_class": per_class}

    def _coco(self, annotations: list[dict[str, Any]]) -> COCO:
        coco = COCO()
        categories = [{"id": label, "name": str(label)} for label in range(self.num_classes)]
        coco.dataset = {"images": self.images, "categories": categories, "annotations": annotations}
        coco.createIndex()
        return coco


def encode(masks: Tensor) -> list[dict[str, Any]]:
    """COCO's run-length codes {"size", "counts"} of masks [N, H, W] (bool); counts are bytes."""
    if not len(masks):
        return []
    planes = masks.cpu().to(torch.uint8).permute(1, 2, 0).numpy()
    return rle.encode(np.asfortranarray(planes))


def annotation(number: int, image: int, label: int, mask: dict[str, Any]) -> dict[str, Any]:
    """COCO's record of a mask in run-length code."""
    box = [float(value) for value in rle.toBbox(mask)]
    return {
        "id": number, "image_id": image, "category_id": label, "segmentation": mask,
        "area": float(rle.area(mask)), "bbox": box, "iscrowd": 0,
    }  # fmt: skip


def _percent(precision: np.ndarray) -> float:
    valid = precision[precision > -1]
    return float(100 * valid.mean()) if valid.size else math.nan

"""Average precision of instance masks by COCO's rules: pycocotools matches and averages, without files.

What an image adds is a tally of JSON's types, so images can be evaluated anywhere and in any order: the
scores are those of all tallies sorted by image.
"""

from __future__ import annotations

import contextlib
import copy
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from bench.evaluate.ap_image import Tally, image_tally
from bench.evaluate.boundary import DILATION_RATIO
from models.inference import Instances

_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class MaskAP:
    """True and predicted masks, gathered over images, of classes 0 .. `num_classes` - 1.

    Args:
        num_classes: K.
        boundary: Boundary AP (Cheng et al. 2021, section 5): the IoU of a pair of masks is the smaller one of
            its mask IoU and its Boundary IoU. Crowds keep the mask IoU.
        ratio: the width of the boundary's band, as a share of the image's diagonal.
    """

    def __init__(self, num_classes: int, boundary: bool = False, ratio: float = DILATION_RATIO) -> None:
        self.num_classes, self.boundary, self.ratio = num_classes, boundary, ratio
        self._tallies: dict[int | str, Tally] = {}

    def add(
        self,
        labels: Tensor,
        masks: Tensor,
        found: Instances,
        crowd: Tensor | Sequence[bool] | None = None,
        areas: Tensor | Sequence[float] | None = None,
        image: int | str | None = None,
    ) -> None:
        """Adds an image, by default as the next one; takes and raises what `tally` does."""
        image = len(self._tallies) if image is None else image
        self.merge(self.tally(labels, masks, found, crowd, areas, image))

    def tally(
        self,
        labels: Tensor,
        masks: Tensor,
        found: Instances,
        crowd: Tensor | Sequence[bool] | None = None,
        areas: Tensor | Sequence[float] | None = None,
        image: int | str = 0,
    ) -> Tally:
        """What an image adds to the scores, for `merge`; JSON keeps it exactly.

        Args:
            labels: true classes [N].
            masks: true masks [N, H, W] (bool).
            found: what was found in the image.
            crowd: [N], whether a true mask is a crowd. It need not be found, and predictions of its class
                that lie in it are not wrong, however many they are.
            areas: [N] areas in pixels by which a true mask is small, medium or large; in COCO's files those
                of the polygons. Default: the pixels of each mask.
            image: tells the images apart. Of predictions with one score those of the lower image come first.

        Raises:
            ValueError: masks of another size, a class out of range, crowd or areas of another length, a score
                or an area that is not finite.
        """
        if masks.shape[1:] != found.masks.shape[1:]:
            sizes = f"{tuple(found.masks.shape[1:])}, true ones {tuple(masks.shape[1:])}"
            raise ValueError(f"predicted masks are {sizes}")
        for name, values in (("crowd", crowd), ("areas", areas)):
            if values is not None and len(values) != len(masks):
                raise ValueError(f"{name} has {len(values)} values for {len(masks)} true masks")
        for name, values in (("scores", found.scores), ("areas", areas)):
            if values is not None and not torch.as_tensor(values).isfinite().all():
                raise ValueError(f"{name} are not all finite")
        for kinds in (labels, found.labels):
            if kinds.numel() and not 0 <= int(kinds.min()) <= int(kinds.max()) < self.num_classes:
                raise ValueError(f"classes are 0 to {self.num_classes - 1}, not {kinds.unique().tolist()}")
        ratio = self.ratio if self.boundary else None
        return {"image": image, "classes": image_tally(labels, masks, found, crowd, areas, ratio)}

    def merge(self, tally: Tally) -> None:
        """Adds what `tally` gave. Raises ValueError for an image that is there already."""
        if tally["image"] in self._tallies:
            raise ValueError(f"image {tally['image']!r} was added before")
        self._tallies[tally["image"]] = tally

    def scores(self) -> dict[str, float | list[float]]:
        """COCO's AP (IoU 0.5 to 0.95, at most 100 masks of a class in an image), AP50, AP75, and APs, APm,
        APl by area, in percent; nan where there is no true mask. `per_class`: AP by class."""
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
            evaluation = self._evaluation()
            evaluation.accumulate()
            evaluation.summarize()
        values = [float(100 * value) if value >= 0 else math.nan for value in evaluation.stats[: len(_NAMES)]]
        precision = evaluation.eval["precision"][..., 0, -1]  # [IoU, recall, class] of all areas
        per_class = [_percent(precision[:, :, k]) for k in range(self.num_classes)]
        return {**dict(zip(_NAMES, values, strict=True)), "per_class": per_class}

    def _evaluation(self) -> COCOeval:
        """pycocotools as it is after it has matched all images."""
        images = sorted(self._tallies, key=lambda image: (isinstance(image, str), image))
        evaluation = COCOeval(iouType="segm")
        settings = evaluation.params
        settings.imgIds, settings.catIds = list(range(len(images))), list(range(self.num_classes))
        places: dict[int, list[tuple[int, dict]]] = {}
        for place, image in enumerate(images):
            for entry in self._tallies[image]["classes"]:
                places.setdefault(entry["label"], []).append((place, entry))
        evaluation.evalImgs = []
        for label in settings.catIds:
            for area in range(len(settings.areaRng)):
                matched: list[dict | None] = [None] * len(images)
                for place, entry in places.get(label, ()):
                    matched[place] = _matched(entry, area, len(settings.iouThrs))
                evaluation.evalImgs += matched
        evaluation._paramsEval = copy.deepcopy(settings)
        return evaluation


def _matched(entry: dict[str, Any], area: int, thresholds: int) -> dict[str, Any]:
    """What pycocotools keeps of an image, a class and a range of areas; true masks that are ignored are not
    listed."""
    bits = 1 << np.arange(thresholds)[:, None]
    return {
        "dtScores": entry["scores"],
        "dtMatches": (np.array(entry["matched"][area], dtype=np.int64) & bits) > 0,
        "dtIgnore": (np.array(entry["ignored"][area], dtype=np.int64) & bits) > 0,
        "gtIgnore": np.zeros(entry["truths"][area]),
    }


def _percent(precision: np.ndarray) -> float:
    valid = precision[precision > -1]
    return float(100 * valid.mean()) if valid.size else math.nan

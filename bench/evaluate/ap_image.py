"""One image's part of COCO's average precision: which of its predictions pycocotools matches."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from bench.evaluate.boundary import band_width, mask_band
from models.inference import Instances

Tally = dict[str, Any]
_IMAGE = 1


def image_tally(
    labels: Tensor,
    masks: Tensor,
    found: Instances,
    crowd: Tensor | Sequence[bool] | None,
    areas: Tensor | Sequence[float] | None,
    ratio: float | None,
) -> list[Tally]:
    """An entry for each class that occurs, in order; arguments as in `MaskAP.tally`, `ratio` that of the
    boundary's band or None for mask IoU.

    An entry has "label", "truths" (how many true masks count, by range of areas), "scores" of the
    predictions, best first, and "matched" and "ignored": numbers [areas, predictions] whose bit t speaks of
    IoU threshold t.
    """
    truths = _annotations(labels, masks)
    for name, values in (("iscrowd", crowd), ("area", areas)):
        if values is not None:
            listed = values.tolist() if isinstance(values, Tensor) else values
            for truth, value in zip(truths, listed, strict=True):
                truth[name] = int(value) if name == "iscrowd" else float(value)
    guesses = _annotations(found.labels, found.masks)
    for guess, score in zip(guesses, found.scores.tolist(), strict=True):
        guess["score"] = score
    if ratio is not None:
        width = band_width(tuple(masks.shape[1:]), ratio)
        for annotations, planes in ((truths, masks), (guesses, found.masks)):
            for record, code in zip(annotations, encode(_bands(planes, width)), strict=True):
                record["boundary"] = code
    kinds = sorted({record["category_id"] for record in (*truths, *guesses)})
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
        sides = (_coco(records, kinds, masks.shape[1:]) for records in (truths, guesses))
        evaluation = (COCOeval if ratio is None else _BoundaryEval)(*sides, "segm")
        evaluation.evaluate()
    ranges = len(evaluation.params.areaRng)
    return [
        _entry(label, evaluation.evalImgs[place * ranges : (place + 1) * ranges])
        for place, label in enumerate(kinds)
    ]


class _BoundaryEval(COCOeval):
    """With the smaller one of mask IoU and Boundary IoU; of a crowd the mask IoU alone, as its authors do."""

    def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803
        whole = super().computeIoU(imgId, catId)
        truths, guesses = self._gts[imgId, catId], self._dts[imgId, catId]
        if not truths or not guesses:
            return whole
        best = np.argsort([-guess["score"] for guess in guesses], kind="stable")[: self.params.maxDets[-1]]
        crowd = np.array([truth["iscrowd"] for truth in truths])
        bands = [guesses[place]["boundary"] for place in best], [truth["boundary"] for truth in truths]
        return np.where(crowd, whole, np.minimum(whole, rle.iou(*bands, crowd.tolist())))


def _entry(label: int, by_area: Sequence[dict[str, Any]]) -> Tally:
    return {
        "label": label,
        "truths": [int((one["gtIgnore"] == 0).sum()) for one in by_area],
        "scores": [float(score) for score in by_area[0]["dtScores"]],
        "matched": [_bits(one["dtMatches"] > 0) for one in by_area],
        "ignored": [_bits(one["dtIgnore"]) for one in by_area],
    }


def _bits(flags: np.ndarray) -> list[int]:
    """Flags [T, D] as D numbers."""
    return (flags.astype(np.int64) << np.arange(len(flags))[:, None]).sum(0).tolist()


def _annotations(labels: Tensor, masks: Tensor) -> list[dict[str, Any]]:
    pairs = zip(labels.tolist(), encode(masks), strict=True)
    return [annotation(number, _IMAGE, label, mask) for number, (label, mask) in enumerate(pairs, start=1)]


def _bands(masks: Tensor, width: int) -> Tensor:
    bands = [mask_band(mask, width) for mask in masks.cpu().bool().numpy()]
    return torch.from_numpy(np.stack(bands)) if bands else masks.bool()


def _coco(annotations: list[dict[str, Any]], kinds: Sequence[int], size: Sequence[int]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": _IMAGE, "height": int(size[0]), "width": int(size[1])}],
        "categories": [{"id": kind, "name": str(kind)} for kind in kinds],
        "annotations": annotations,
    }
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

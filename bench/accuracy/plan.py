"""What a printed accuracy column asks for: which task is scored how, and which of its scores is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tables import Cell, Column

if TYPE_CHECKING:
    from models.inference import Task

CORRUPTED = "accuracy/pq-coco-c-"
_SPLITS = {"val2017": ("val", None), "val2017, 2000 images": ("val", 2000)}
_PRIVATE = ("test", "test-dev")  # the labels are not published: a server scores what it is sent

_WITHOUT = {
    "accuracy/pq-multi-scale-v1": "how segments of several scales become one map is not published",
    "accuracy/miou-of-panoptic-multi-scale-v1": "the panoptic model's scales are not published",
    "accuracy/ap-box-v1": "boxes are not scored here, masks are",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a model is scored for a column.

    Attributes:
        task: what is scored; a panoptic model also gives instances and semantic maps.
        score: the name of the score among those of `evaluate`.
        split: the split to use. `private` is the paper's, where its labels are not public and this one stands
            in for it.
        images: only the first so many; `whole` is false where that is not what the paper took.
        corruption: of the images, as `--corruption` takes it.
    """

    task: Task
    score: str
    split: str = "val"
    private: str | None = None
    images: int | None = None
    whole: bool = True
    multi_scale: bool = False
    boundary: bool = False
    corruption: str | None = None


_MULTI_SCALE = ("accuracy/ade20k-score-v1", "accuracy/ade20k-server-v1")

_SCORES: dict[str, tuple[Task, str]] = {
    "miou": ("semantic", "mIoU"),
    "miou_ms": ("semantic", "mIoU"),
    "miou_pan": ("semantic", "mIoU"),
    "pixel_accuracy": ("semantic", "pixel_accuracy"),
    "score": ("semantic", "score"),
    "ap": ("instance", "AP"),
    "ap_pan": ("instance", "AP"),
    "ap_boundary": ("instance", "AP"),
    "ap50": ("instance", "AP50"),
    "ap75": ("instance", "AP75"),
    "ap_s": ("instance", "APs"),
    "ap_m": ("instance", "APm"),
    "ap_l": ("instance", "APl"),
    **{
        f"{prefix}{quality}{ending}": ("panoptic", quality.upper() + ending)
        for quality in ("pq", "sq", "rq")
        for prefix in ("", "boundary_")
        for ending in ("", "_things", "_stuff")
    },
}


def plan(column: Column, cell: Cell | None = None) -> Plan | str:
    """How a cell's number is obtained from a model, or one line that says why it cannot be.

    Raises KeyError for a column that holds no accuracy.
    """
    protocol = column.protocol if cell is None else cell.protocol
    if protocol in _WITHOUT:
        return _WITHOUT[protocol]
    task, score = _SCORES[column.metric]
    private = column.split if column.split in _PRIVATE else None
    split, images = _SPLITS.get(column.split or "", (column.split, None))
    return Plan(
        task=task,
        score=score,
        split="val" if private or split is None else split,
        private=private,
        images=images,
        multi_scale="multi-scale" in protocol or protocol in _MULTI_SCALE,
        boundary="boundary" in protocol,
        corruption=_corruption(protocol),
    )


def _corruption(protocol: str) -> str | None:
    if not protocol.startswith(CORRUPTED):
        return None
    name = protocol.removeprefix(CORRUPTED).removesuffix("-v1").replace("-", "_")
    return "all" if name == "mean" else name

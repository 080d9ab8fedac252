"""Writing a dataset in the layout of a public one, without loss, so that its loader can be tried."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from bench.data.base import DatasetInfo, Sample, SegmentationDataset
from bench.data.classes import dataset_classes
from bench.data.export_layouts import LAYOUTS, Layout
from bench.data.export_zip import pack
from bench.data.verify import Progress, silent
from bench.errors import UserError, nearest
from bench.files import atomic_write


def export(
    dataset: SegmentationDataset,
    layout: str,
    out: str | Path,
    progress: Progress = silent,
    *,
    objects: bool = False,
) -> Path:
    """Writes `dataset` under `out` (existing splits of other names stay) and returns `out`.

    objects: with panoptic and instance labels, where the layout has them; see `exported_classes` for the
    classes. The samples appear at once: they are written to a temporary folder in `out` first. Errors:
    UserError for an unknown layout, a split or a number of classes that the layout does not have, and where
    the split is already there; OSError as the file system raises it.
    """
    plan, out = _plan(layout), Path(out)
    order = exported_classes(dataset.info, layout, objects=objects)
    _check(dataset, layout, plan, out)
    info = dataset.info if plan.own_classes else dataset_classes(layout)
    out.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".export-", dir=out))
    try:
        _write(dataset, plan, info, order, temporary, progress, objects or not plan.labels)
        _merge(temporary, out)
    except OSError as error:
        if error.filename is None:  # a failed write does not know its file
            error.filename = str(out)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if plan.own_classes:
        atomic_write(out / "classes.json", json.dumps(_class_list(dataset.info), indent=1) + "\n")
    return out


def export_zipped(
    datasets: list[SegmentationDataset],
    layout: str,
    out: str | Path,
    progress: Progress = silent,
    *,
    objects: bool = False,
) -> list[Path]:
    """Writes splits of a dataset into `out` as zips with the names and contents of the official ones.

    Returns the zips. Errors as those of `export`, and UserError for a zip that is already there.
    """
    _plan(layout)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as temporary:
        for dataset in datasets:
            export(dataset, layout, temporary, progress, objects=objects)
        return pack(Path(temporary), layout, out)


def exported_classes(info: DatasetInfo, layout: str, *, objects: bool = False) -> list[int]:
    """The class of `layout` that each class of `info` is written as.

    Without objects, class i becomes class i. With objects (and always in a layout that has nothing else),
    things become things and stuff becomes stuff, each in order, since what is a thing cannot be chosen.
    Raises UserError where the layout has too few classes.
    """
    plan = _plan(layout)
    target = dataset_classes(layout)
    if plan.own_classes:
        if info.num_classes > 254:
            raise UserError(f"{info.name} has {info.num_classes} classes; {layout} holds 254")
        return list(range(info.num_classes))
    if plan.labels and not (objects and plan.objects):
        if info.num_classes > target.num_classes:
            raise UserError(
                f"{info.name} has {info.num_classes} classes; {layout} holds {target.num_classes}"
            )
        return list(range(info.num_classes))
    order = [0] * info.num_classes
    for kind, word in ((True, "things"), (False, "stuff classes")):
        ours, theirs = _of_kind(info, kind), _of_kind(target, kind)
        if len(ours) > len(theirs):
            raise UserError(f"{info.name} has {len(ours)} {word}; {layout} holds {len(theirs)}")
        for mine, its in zip(ours, theirs, strict=False):
            order[mine] = its
    return order


def relabelled(sample: Sample, order: list[int], ignore_index: int = 255) -> Sample:
    """`sample` with class i as class order[i]."""
    table = torch.full((256,), ignore_index, dtype=torch.uint8)
    table[: len(order)] = torch.tensor(order, dtype=torch.uint8)
    return replace(sample, semantic=table[sample.semantic.long()])


def _plan(layout: str) -> Layout:
    if layout not in LAYOUTS:
        raise UserError(f"unknown layout '{layout}'{nearest(layout, LAYOUTS)}")
    return LAYOUTS[layout]


def _of_kind(info: DatasetInfo, things: bool) -> list[int]:
    return [label for label in range(info.num_classes) if (label in info.things) == things]


def _check(dataset: SegmentationDataset, layout: str, plan: Layout, out: Path) -> None:
    if dataset.split not in plan.splits:
        known = ", ".join(plan.splits)
        raise UserError(f"the {layout} layout has no split '{dataset.split}' (known: {known})")
    for place in plan.own_places(dataset.split):
        if (out / place).exists():
            raise UserError(f"{out / place} already exists; remove it or choose another folder")


def _write(
    dataset: SegmentationDataset,
    plan: Layout,
    info: DatasetInfo,
    order: list[int],
    folder: Path,
    progress: Progress,
    objects: bool,
) -> None:
    split = plan.splits[dataset.split]
    writers = [make(folder, split, info) for make in plan.objects] if objects else []
    names = []
    for index in progress(range(len(dataset)), len(dataset), f"{info.name} {dataset.split}"):
        sample = relabelled(dataset[index], order)
        plan.write(sample, dataset.split, folder, info)
        for writer in writers:
            writer.write(sample)
        names.append(sample.name)
    for writer in writers:
        writer.finish()
    if plan.names:
        path = folder / plan.names.format(split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(names) + "\n", encoding="utf-8")


def _merge(source: Path, target: Path) -> None:
    """Moves all in one folder into another, folders first: lists come when what they name is there."""
    for path in sorted(source.iterdir(), key=lambda path: (path.is_file(), path.name)):
        if path.is_dir() and (target / path.name).is_dir():
            _merge(path, target / path.name)
        else:
            os.replace(path, target / path.name)


def _class_list(info: DatasetInfo) -> dict[str, object]:
    """The content of CamVid's classes.json."""
    rows = [
        {"id": i, "name": name, "color": list(color), "ignore": False, "thing": i in info.things}
        for i, (name, color) in enumerate(zip(info.classes, info.colors, strict=True))
    ]
    void = {"id": info.num_classes, "name": "Unlabelled", "color": [0, 0, 0], "ignore": True}
    return {
        "source": info.name,
        "classes": [*rows, void],
        "num_classes": info.num_classes,
        "void_id": void["id"],
    }

"""Packing an exported dataset into zips that are called and filled as the official ones."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.files import atomic_path


@dataclass(frozen=True)
class Packing:
    """A zip: its name, where its files are in it, and which of the exported ones they are.

    around: a folder in the zip, ending in "/"; parts: beginnings of paths; nested: folders that are zips of
    their own in it, uncompressed.
    """

    name: str
    parts: tuple[str, ...]
    around: str = ""
    nested: tuple[str, ...] = ()


PACKINGS: dict[str, tuple[Packing, ...]] = {
    "ade20k": (
        Packing(
            "ADEChallengeData2016.zip",
            ("images/", "annotations/", "annotations_instance/"),
            "ADEChallengeData2016/",
        ),
    ),
    "cityscapes": (
        Packing("leftImg8bit_trainvaltest.zip", ("leftImg8bit/",)),
        Packing("gtFine_trainvaltest.zip", ("gtFine/",)),
    ),
    "camvid": (Packing("camvid.zip", ("",)),),
    "coco": (
        Packing("train2017.zip", ("train2017/",)),
        Packing("val2017.zip", ("val2017/",)),
        Packing("annotations_trainval2017.zip", ("annotations/instances_",)),
        Packing(
            "panoptic_annotations_trainval2017.zip",
            ("annotations/panoptic_train2017.json", "annotations/panoptic_val2017.json"),
            nested=("annotations/panoptic_train2017", "annotations/panoptic_val2017"),
        ),
    ),
    "coco_stuff10k": (Packing("cocostuff-10k-v1.1.zip", ("",)),),
    "pascal_context": (Packing("pascal_context.zip", ("",), "VOCdevkit/VOC2010/"),),
    "mapillary": (Packing("mapillary-vistas-dataset_public_v1.2.zip", ("",)),),
}


def pack(folder: Path, layout: str, out: Path) -> list[Path]:
    """Packs what `export` wrote into `folder` and returns the zips in `out`.

    Raises UserError for a zip that is already there; nothing is written then.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    plans = [(plan, [path for path in files if path.startswith(plan.parts)]) for plan in PACKINGS[layout]]
    plans = [(plan, chosen) for plan, chosen in plans if chosen]
    for plan, _ in plans:
        if (out / plan.name).exists():
            raise UserError(f"{out / plan.name} already exists; remove it or choose another folder")
    for plan, chosen in plans:
        with (
            atomic_path(out / plan.name) as path,
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name in chosen:
                archive.write(folder / name, plan.around + name)
            for inner in plan.nested:
                _nest(folder, inner, files, archive)
    return [out / plan.name for plan, _ in plans]


def _nest(folder: Path, inner: str, files: list[str], archive: zipfile.ZipFile) -> None:
    around = inner.rpartition("/")[0] + "/"
    chosen = [path for path in files if path.startswith(inner + "/")]
    if not chosen:
        return
    stored = zipfile.ZipInfo(f"{inner}.zip")  # uncompressed, so that it can be read in place
    with archive.open(stored, "w", force_zip64=True) as file, zipfile.ZipFile(file, "w") as nested:
        for name in chosen:
            nested.write(folder / name, name.removeprefix(around), zipfile.ZIP_DEFLATED)

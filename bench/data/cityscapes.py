"""Cityscapes fine annotations in the official layout (Cordts et al., CVPR 2016): 2,975 and 500 images."""

from __future__ import annotations

from pathlib import Path

from bench.data import categories
from bench.data.pairs import LabelTable, Pair, PairedFiles, list_files, need_folder, need_split, pair_up
from bench.errors import UserError

LAYOUT = (
    "ROOT/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png with "
    "ROOT/gtFine/{train,val}/CITY/*_gtFine_labelIds.png (or *_gtFine_labelTrainIds.png)"
)
PUBLISHED = "https://www.cityscapes-dataset.com (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip)"
COUNTS = {"train": 2975, "val": 500}
_SPLITS = {"train": "train", "val": "val", "test": "test"}


class Cityscapes(PairedFiles):
    """One split, "train", "val" or "test" (whose published label maps are empty).

    Label ids become the 19 train ids, the others are ignored. A split has either labelIds or, where those are
    absent, labelTrainIds.
    """

    def __init__(self, root: str | Path | None, split: str = "train", skip_corrupt: bool = False) -> None:
        folder = need_split("cityscapes", split, _SPLITS)
        base = Path(root) if root is not None else None
        images, labels = (
            need_folder("cityscapes", base and base / kind / folder, LAYOUT, PUBLISHED)
            for kind in ("leftImg8bit", "gtFine")
        )
        train_ids = not any(labels.glob("*/*_gtFine_labelIds.png"))
        ending = "_gtFine_labelTrainIds" if train_ids else "_gtFine_labelIds"
        pairs = _pairs(images, labels, ending)
        super().__init__(categories.cityscapes(), split, pairs, _table(train_ids), skip_corrupt)


def _pairs(images: Path, labels: Path, ending: str) -> list[Pair]:
    pairs: list[Pair] = []
    for city in sorted(path for path in images.iterdir() if path.is_dir()):
        found = list_files(city, (".png",), "_leftImg8bit")
        if not found:
            continue
        maps = labels / city.name
        known = list_files(maps, (".png",), ending) if maps.is_dir() else {}
        pairs += pair_up(found, known, maps / f"{{name}}{ending}.png", str(images))
    if not pairs:
        raise UserError(f"no images found; expected {images}/CITY/*_leftImg8bit.png")
    return pairs


def _table(train_ids: bool) -> LabelTable:
    if train_ids:
        return LabelTable.of({255: None} | {i: i for i in range(19)}, "train ids 0 to 18 or 255 (ignored)")
    return LabelTable.of(categories.cityscapes_train_ids(), "label ids 0 to 33")

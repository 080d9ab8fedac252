"""ADE20K in the SceneParse150 layout (Zhou et al., CVPR 2017): 20,210 training, 2,000 validation images."""

from __future__ import annotations

from pathlib import Path

from bench.data import categories
from bench.data.pairs import (
    IMAGE_SUFFIXES,
    LabelTable,
    PairedFiles,
    list_files,
    need_folder,
    need_split,
    pair_up,
)

LAYOUT = "ROOT/images/{training,validation}/*.jpg with ROOT/annotations/{training,validation}/*.png"
PUBLISHED = "http://sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)"
COUNTS = {"train": 20210, "val": 2000}
_SPLITS = {"train": "training", "val": "validation", "training": "training", "validation": "validation"}


class ADE20K(PairedFiles):
    """One split, "train" or "val". Labels 1..150 in the files are classes 0..149, 0 is ignored.

    root: the folder ADEChallengeData2016 or the one around it.
    """

    def __init__(self, root: str | Path | None, split: str = "train", skip_corrupt: bool = False) -> None:
        folder = need_split("ade20k", split, _SPLITS)
        base = Path(root) if root is not None else None
        if base is not None and (base / "ADEChallengeData2016").is_dir():
            base = base / "ADEChallengeData2016"
        images, labels = (
            need_folder("ade20k", base and base / kind / folder, LAYOUT, PUBLISHED)
            for kind in ("images", "annotations")
        )
        pairs = pair_up(
            list_files(images, IMAGE_SUFFIXES), list_files(labels, (".png",)), labels / "{name}.png",
            f"{images}/*.jpg",
        )  # fmt: skip
        classes = {0: None} | {label: label - 1 for label in range(1, 151)}
        table = LabelTable.of(classes, "0 (ignored) to 150")
        super().__init__(categories.ade20k(), split, pairs, table, skip_corrupt)

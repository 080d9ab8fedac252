"""COCO 2017 (Lin et al., ECCV 2014): its panoptic labels (Kirillov et al., CVPR 2019) or its instances."""

from __future__ import annotations

from pathlib import Path

from bench.data.coco_categories import coco
from bench.data.instance_files import InstanceLabels, read_instances
from bench.data.pairs import (
    Pair,
    PairedFiles,
    list_files,
    listed_images,
    need_folder,
    need_split,
    opened,
    pair_up,
)
from bench.data.panoptic_files import PanopticLabels, read_segments

LAYOUT = (
    "ROOT/{train2017,val2017}/*.jpg with ROOT/annotations/panoptic_{train,val}2017.json and folders of PNG "
    "of the same names there or in ROOT, for instance ROOT/annotations/instances_{train,val}2017.json "
    "(`data prepare` unpacks the PNG's zip from that of the JSONs, if it cannot be read there)"
)
PUBLISHED = (
    "https://cocodataset.org/#download (train2017.zip, val2017.zip, annotations_trainval2017.zip, "
    "panoptic_annotations_trainval2017.zip)"
)
TASKS = ("semantic", "panoptic", "instance")
COUNTS = {"train": 118_287, "val": 5_000}
TASK_COUNTS = {"instance": {"train": 117_266, "val": 5_000}}
SPLITS = {"train": "train2017", "val": "val2017", "train2017": "train2017", "val2017": "val2017"}


class COCO(PairedFiles):
    """One split, "train" or "val", in order of the images' ids, with the 133 panoptic classes.

    semantic, panoptic: from the panoptic PNGs, images that have one. instance: the 80 things with masks that
    may overlap; the training split is 117,266 images, those with an object that is no crowd (as the released
    code trains), "val" is all images, for what is found in an image without objects counts in AP.
    """

    def __init__(
        self,
        root: str | Path | None,
        split: str = "train",
        task: str = "semantic",
        skip_corrupt: bool = False,
    ) -> None:
        folder, base, info = need_split("coco", split, SPLITS), opened(root, "coco", "COCO"), coco()
        images = need_folder("coco", base and base / folder, LAYOUT, PUBLISHED)
        annotations = need_folder("coco", base / "annotations", LAYOUT, PUBLISHED)
        if task == "instance":
            path = annotations / f"instances_{folder}.json"
            index = read_instances(path)
            names = [name for name, row in index.rows.items() if folder != "train2017" or index.usable[row]]
            found = listed_images(path, names, images)
            pairs = [Pair(name, image, path) for name, image in found.items()]
            read = InstanceLabels(index, info)
        else:
            path = annotations / f"panoptic_{folder}.json"
            segments = read_segments(path, info)
            found = listed_images(path, sorted(segments.rows), images)
            beside = base / path.stem  # where detectron2 has it
            drawn = beside if beside.is_dir() else annotations / path.stem
            need_folder("coco", drawn, LAYOUT, PUBLISHED)
            pairs = pair_up(found, list_files(drawn, (".png",)), drawn / "{name}.png", LAYOUT)
            read = PanopticLabels(segments, info)
        super().__init__(info, split.removesuffix("2017"), pairs, read, skip_corrupt, shared=[path])

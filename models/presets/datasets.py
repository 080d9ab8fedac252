"""How many classes a model has for each data set and task."""

from __future__ import annotations

from collections.abc import Mapping

NUM_CLASSES: Mapping[str, int] = {
    "ade20k": 150,
    "ade20k_panoptic": 150,
    "ade20k_instance": 100,
    "cityscapes": 19,
    "cityscapes_panoptic": 19,
    "cityscapes_instance": 8,
    "coco_panoptic": 133,
    "coco_instance": 80,
    "coco_stuff10k": 171,
    "pascal_context": 59,
    "mapillary": 65,
    "mapillary_panoptic": 65,
}
"""By data set, with the task where it is not semantic. The first 80 classes of COCO are its things."""

NUM_THINGS: Mapping[str, int] = {"coco": 80, "ade20k": 100}
"""Of the panoptic data sets that a model with things first is trained on."""

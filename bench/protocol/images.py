"""The images that the papers counted on: their sizes as files, and as the model got them.

Sizes are (height, width).
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import NamedTuple

from models.inference import Size

ADE_VAL_1 = (512, 683)
"""The first validation image of ADE20K."""
FIRST_100 = Path(__file__).with_name("coco_val2017_first100.toml")
SHORT, LONG = 800, 1333


class Picture(NamedTuple):
    """An image: its size as the model gets it, before padding, and the size of the results."""

    size: Size
    output_size: Size


def square(side: int, output_size: Size | None = None) -> tuple[Picture, ...]:
    """One square image, whose results have its size unless another is given."""
    return (Picture((side, side), output_size or (side, side)),)


def fixed(height: int, width: int) -> tuple[Picture, ...]:
    """One image, whose results have its size."""
    return (Picture((height, width), (height, width)),)


@functools.cache
def coco() -> tuple[Picture, ...]:
    """The first 100 images of COCO val2017, resized for testing; results have the size of the file.

    That is what detectron2's `analyze_model.py --num-inputs 100` takes, whose loader sorts by image id.
    Panoptic SegFormer's figures of DETR are from there too (its appendix, "FPS and FLOPs").
    """
    return tuple(Picture(shortest_edge(size), size) for size in first_100())


@functools.cache
def first_100() -> tuple[Size, ...]:
    """Sizes of the files."""
    with FIRST_100.open("rb") as file:
        return tuple((height, width) for height, width in tomllib.load(file)["sizes"])


def shortest_edge(size: Size) -> Size:
    """Shorter side 800, longer at most 1333, sides rounded: detectron2's `ResizeShortestEdge`."""
    height, width = (side * (SHORT / min(size)) for side in size)
    if max(height, width) > LONG:
        height, width = (side * (LONG / max(height, width)) for side in (height, width))
    return int(height + 0.5), int(width + 0.5)

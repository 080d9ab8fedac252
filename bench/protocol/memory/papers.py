"""How the papers measured training memory, and what we take where they do not say."""

from __future__ import annotations

from dataclasses import dataclass

from bench.protocol.memory.step import Amp, MemorySetting
from models.spec import SpecError, nearest

OBJECTS = {"ade20k": 20, "coco": 93}
"""Objects an image. No paper gives them. detectron2 and mmsegmentation log the most memory of all steps so
far, which the steps with many objects decide: 93 is the largest number of annotations of an image of COCO
train2017. Of the classes in a crop of ADE20K, of which there are 8 or 9 in the mean, we take 20."""


@dataclass(frozen=True, kw_only=True)
class PaperMemory:
    """How a paper's trainings ran. `gpus`: more than one, so that gradients are kept a second time.

    `why`: where each value is from.
    """

    amp: Amp
    gpus: int
    why: str


PAPERS: dict[str, PaperMemory] = {
    "faseg": PaperMemory(
        amp="fp16",
        gpus=1,
        why="Section 4.2: batch 4 on a single GPU; the released configs switch autocast on",
    ),
    "mask2former": PaperMemory(
        amp="fp16",
        gpus=8,
        why="Section 3.3: per image; the released configs switch autocast on; taken: one image a GPU",
    ),
    "pft": PaperMemory(
        amp="off",
        gpus=8,
        why="Section IV-A: batch 16 on 8 GPUs; no precision is printed; MaskFormer's code, which PFT builds "
        "on, trains in float32, and so do three pixel attentions cost what Table VII prints",
    ),
}


def paper_setting(paper: str, batch: int, crop: tuple[int, int], dataset: str) -> MemorySetting:
    """The setting of a paper's printed memory. `dataset`: "ade20k", "coco" or "coco_instance".

    Raises SpecError for a paper or data set without training memory.
    """
    if paper not in PAPERS:
        raise SpecError(f"no training memory is known of {paper!r}; there is of {nearest(paper, PAPERS)}")
    data = dataset.split("_")[0]
    if data not in OBJECTS:
        raise SpecError(f"objects an image of {dataset!r}: there are {nearest(dataset, OBJECTS)}")
    how = PAPERS[paper]
    return MemorySetting(batch=batch, crop=crop, objects=OBJECTS[data], amp=how.amp, buckets=how.gpus > 1)

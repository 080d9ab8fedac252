"""How each system's printed parameters and FLOPs were obtained: by its name, as presets have it.

A system is counted the same way in whichever paper's table it stands. Which tool and which images belong to
whom: `README.md` beside this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.protocol.images import ADE_VAL_1, Picture, coco, fixed, square
from models.spec import SpecError

ALL, TRAINABLE = "params/all-v1", "params/trainable-v1"
FVCORE, FVCORE_LAST, MMCV = "flops/fvcore-v1", "flops/fvcore-last-v1", "flops/mmcv-v1"
EXACT = "flops/exact-v1"

BY_SYSTEM = {"params": "params/by-system-v1", "flops": "flops/by-system-v1"}
"""Metric -> the protocol of a column that holds systems of several papers: each is counted as its own."""

Pictures = tuple[Picture, ...]
_DATASETS = ("ade20k", "cityscapes", "coco_stuff10k", "coco", "pascal_context", "mapillary")
_PRESET = re.compile(
    rf"(?P<backbone>[a-z0-9_]+?)_(?P<dataset>({'|'.join(_DATASETS)})(_panoptic|_instance|_semantic)?)"
)
_LARGE = ("swin_b", "swin_l")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a system's FLOPs are counted on a data set.

    Attributes:
        protocol: of the printed number.
        end: where the count ends, see `bench.protocol.ends`.
        pictures: the images it is a mean over; None where no paper prints a number, which needs a size.
    """

    protocol: str
    end: str
    pictures: Pictures | None = None


@dataclass(frozen=True, kw_only=True)
class System:
    """How one system's numbers are obtained.

    Attributes:
        params: protocol of its parameters.
        flops: protocol of its FLOPs.
        end: where counting ends.
        ends: data set (with its task) -> another end.
        pictures: data set -> the images, from the name of the backbone.
        protocols: data set -> another protocol of FLOPs.
    """

    params: str = ALL
    flops: str = FVCORE
    end: str = "predictions"
    ends: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, Callable[[str], Pictures]] = field(default_factory=dict)
    protocols: Mapping[str, str] = field(default_factory=dict)

    def setting(self, backbone: str, dataset: str) -> Setting:
        """For a backbone and a data set with its task, both as in a preset's name."""
        pictures = self.pictures.get(dataset)
        return Setting(
            protocol=self.protocols.get(dataset, self.flops),
            end=self.ends.get(dataset, self.end),
            pictures=None if pictures is None else pictures(backbone),
        )


def _always(pictures: Pictures) -> Callable[[str], Pictures]:
    return lambda backbone: pictures


def _side(backbone: str) -> int:
    """ADE20K: 512, and 640 with the large Swin transformers, as in the released configurations."""
    return 640 if backbone in _LARGE else 512


def _crop(backbone: str) -> Pictures:
    return square(_side(backbone))


def _fixed_input(backbone: str) -> Pictures:
    """`analyze_model.py --use-fixed-input-size`: a square of zeros under the name of the first validation
    image, to whose size the scores are resized. It makes Mask2Former's Swin-S 98 and MaskFormer's R101 73."""
    return square(_side(backbone), ADE_VAL_1)


_COCO, _CITYSCAPES = _always(coco()), _always(fixed(1024, 2048))
_DETECTRON2 = {
    "ade20k": _fixed_input,
    **dict.fromkeys(("ade20k_panoptic", "ade20k_instance"), _always(square(640))),
    **dict.fromkeys(("cityscapes", "cityscapes_panoptic", "cityscapes_instance"), _CITYSCAPES),
    **dict.fromkeys(("coco_panoptic", "coco_instance"), _COCO),
}
_MASK2FORMER = System(
    end="scores",
    # the released ADE20K instance model also gives class scores; the figures printed for COCO panoptic
    # models are without them
    ends={
        "ade20k_instance": "masks_and_scores",
        "ade20k_panoptic": "masks_and_scores",
        "cityscapes_panoptic": "masks_and_scores",
        **dict.fromkeys(("cityscapes_instance", "coco_instance", "coco_panoptic"), "masks"),
    },
    pictures=_DETECTRON2,
)
_MMDETECTION = System(
    params=TRAINABLE,
    flops=MMCV,
    end="everything",
    ends={"coco": "located_and_masked"},
    pictures=dict.fromkeys(("coco", "coco_panoptic"), _always(fixed(1200, 800))),
)

SYSTEMS: Mapping[str, System] = {
    "mask2former": _MASK2FORMER,
    "faseg": _MASK2FORMER,
    "maskformer": System(
        end="scores_of_stack",
        ends=dict.fromkeys(("ade20k_panoptic", "coco_panoptic"), "masks_and_scores_of_stack"),
        pictures=_DETECTRON2,
        protocols={"ade20k": FVCORE_LAST},
    ),
    "pft": System(pictures={"ade20k": _crop}),
    "detr": System(end="everything", pictures={"coco_panoptic": _COCO}),
    "deformable_detr": _MMDETECTION,
    "panoptic_segformer": _MMDETECTION,
}


def split(preset: str) -> tuple[System, str, str]:
    """System, backbone and data set (with its task) of a preset's name. Raises SpecError."""
    for name in sorted(SYSTEMS, key=len, reverse=True):
        found = _PRESET.fullmatch(preset.removeprefix(f"{name}_")) if preset.startswith(f"{name}_") else None
        if found:
            return SYSTEMS[name], found["backbone"], found["dataset"]
    raise SpecError(f"nobody has written down how {preset!r} is counted; systems: {', '.join(SYSTEMS)}")


def setting(preset: str) -> Setting:
    """How the FLOPs of a preset are counted. Raises SpecError."""
    system, backbone, dataset = split(preset)
    return system.setting(backbone, dataset)


def params_protocol(preset: str) -> str:
    """The protocol of a preset's printed parameters. Raises SpecError."""
    return split(preset)[0].params

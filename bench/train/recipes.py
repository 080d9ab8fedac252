"""The papers' training recipes by system and data set, ours where they have none; how test images are shown.

A recipe is an optimizer setting of the system with the schedule and the augmentation of the data set.
"""

from collections.abc import Callable
from typing import Any

from bench.data.transforms import (
    AugmentSpec,
    LargeScaleJitterSpec,
    ResizeOrCropSpec,
    ade20k_augment,
    cityscapes_augment,
    scaled_augment,
)
from bench.errors import UserError, nearest
from bench.evaluate.predict import TestSpec
from bench.train.schedule import PolySchedule, StepSchedule
from bench.train.spec import TrainSpec
from models.backbones import SwinSpec
from models.inference import Task
from models.spec import Spec, paths

COCO_IMAGES, ADE20K_IMAGES = 118_287, 20_210
_SAMPLING = ("backbone", "sampling_offsets", "reference")


def train_recipe(dataset: str, model: Spec, task: Task = "semantic") -> TrainSpec:
    """How `model` is trained on `dataset` for `task`: as released or printed, or what we do where it is not.

    Mask2Former and FASeg (released configs): AdamW, 1e-4, backbone x 0.1, weight decay 0.05, clip 0.01;
    ADE20K 160,000 steps of 16, Cityscapes 90,000, Mapillary 300,000, poly 0.9; COCO 368,750, steps x 0.1,
    large-scale jittering.
    MaskFormer (released configs): weight decay 1e-4; Swin 6e-5, 0.01, warm-up of 1,500 steps, no lower rate.
    Its COCO: 1e-4 and 1e-4 for both, 554,400 steps of 64, x 0.1 after 2/3, augmented as DETR. ADE20K
    panoptic: 720,000 steps. COCO-Stuff, PASCAL-Context and Mapillary (re-runs of other papers): as theirs.
    PFT (section IV-A, table X): as MaskFormer but a linear schedule, backbone x 0.1 (ResNet), 1 (Swin-T, -S),
    0.2 (Swin-B, -L); warm-up and clipping are not printed, MaskFormer's are taken.
    Panoptic SegFormer (released): 1.4e-4, decay 1e-4 of all, x 0.1 for backbone, sampling offsets and
    reference points, clip 0.1, batch 8; COCO 24 epochs, x 0.1 after 18; ADE20K 100 and 80 (appendix B.1).
    DETR (section 4): 1e-4, backbone x 0.1, decay 1e-4 of all, clip 0.1, batch 64; 300 epochs, x 0.1 after
    200; images resized, or cropped and resized, which Deformable DETR and Panoptic SegFormer take over.
    Deformable DETR (section 5): 2e-4, as Panoptic SegFormer's groups, batch 32, 50 epochs, x 0.1 after 40.

    CamVid (ours): 8,000 steps, crop 352 x 480, for backbones with ImageNet weights. embedded (ours): 2,000
    steps of 4 images at 2e-3 from random weights.

    Raises:
        UserError: an unknown data set, or none that this system is trained on.
    """
    if dataset in _OURS:
        return _OURS[dataset].override({"task": task})
    recipes = _SYSTEMS[model.part](model, task)
    return TrainSpec(task=task, **recipes[_known(dataset, [*recipes, *_OURS])])


def overfit_recipe(images: int, model: Spec | None = None) -> TrainSpec:
    """Learning a few images by heart from random weights: 400 steps on all of them at once, unaugmented.

    A check that `model` and its training work; `bench/train/README.md` says what each system reaches. DETR's
    mask head learns late, and not at all where the gradients of the boxes, a hundred times larger, decide how
    much of it is clipped: 800 steps at 7e-4 without clipping.
    """
    spec = TrainSpec(
        steps=400, batch=images, lr=2e-3, backbone_lr_factor=1.0, clip=1.0, augment=AugmentSpec(),
        schedule=PolySchedule(warmup=10), checkpoint_every=50,
    )  # fmt: skip
    slow = model is not None and model.part in ("detr", "deformable_detr")
    return spec.override({"steps": 800, "lr": 7e-4, "clip": None}) if slow else spec


def without_dropout(model: Spec) -> Spec:
    """`model` without dropout, to learn by heart."""
    return model.override({path: 0.0 for path in paths(model) if path.split(".")[-1] == "dropout"})


def test_recipe(dataset: str, model: Spec, task: Task = "semantic") -> TestSpec:
    """The sizes at which a `model` for `task` is tested on `dataset` (released configs; PFT: its crop); the
    image's own on CamVid and embedded."""
    size = _ade20k_size(model, task)
    recipes = {
        "ade20k": TestSpec(short=size, longest=4 * size),
        "cityscapes": TestSpec(short=1024, longest=2048),
        "mapillary": TestSpec(short=2048, longest=2048),
        "coco": TestSpec(short=800, longest=1333),
        "coco_stuff10k": TestSpec(short=640, longest=2560),
        "pascal_context": TestSpec(short=480, longest=1920),
        "camvid": TestSpec(),
        "embedded": TestSpec(),
    }
    return recipes[_known(dataset, recipes)]


test_recipe.__test__ = False  # not a test case, whatever its name says

Settings = dict[str, Any]

_OURS = {
    "camvid": TrainSpec(
        steps=8_000, batch=8, lr=3e-4, clip=1.0, augment=scaled_augment(360, (352, 480)), checkpoint_every=200
    ),
    "embedded": TrainSpec(
        steps=2_000, batch=4, lr=2e-3, backbone_lr_factor=1.0, clip=1.0, checkpoint_every=100,
        augment=AugmentSpec(flip=0.5), schedule=PolySchedule(warmup=10),
    ),
}  # fmt: skip


_MORE: dict[str, Settings] = {
    "coco_stuff10k": {"steps": 60_000, "batch": 32, "augment": scaled_augment(640, (640, 640))},
    "pascal_context": {"steps": 40_000, "augment": scaled_augment(480, (480, 480))},
    "mapillary": {"steps": 300_000, "augment": scaled_augment(2048, (1024, 1024))},
}
"""Length and crops that the systems share on a data set."""


def _mask2former(model: Spec, task: Task) -> dict[str, Settings]:
    milestones = (327_778 / 368_750, 355_092 / 368_750)
    return {
        "ade20k": {"augment": ade20k_augment(_ade20k_size(model, task))},
        "cityscapes": {"steps": 90_000, "augment": cityscapes_augment()},
        "mapillary": _MORE["mapillary"],
        "coco": {
            "steps": 737_500 if _swin(model) == "large" else 368_750,
            "schedule": StepSchedule(milestones=milestones),
            "augment": LargeScaleJitterSpec(),
        },
    }


def _maskformer(model: Spec, task: Task) -> dict[str, Settings]:
    swin = _swin(model) is not None
    warmup = {"warmup": 1500, "warmup_factor": 1e-6} if swin else {}
    rates = {"lr": 6e-5, "weight_decay": 0.01, "backbone_lr_factor": 1.0} if swin else {"weight_decay": 1e-4}
    common = {**rates, "schedule": PolySchedule(**warmup)}
    drop = StepSchedule(milestones=(369_600 / 554_400,), warmup=10, warmup_factor=1.0)
    return {
        "ade20k": {
            **common,
            "steps": 160_000 if task == "semantic" else 720_000,
            "augment": ade20k_augment(_ade20k_size(model, task)),
        },
        "cityscapes": {**common, "steps": 90_000, "augment": cityscapes_augment()},
        **{name: {**common, **settings} for name, settings in _MORE.items()},
        "coco": {
            "weight_decay": 1e-4,
            "backbone_lr_factor": 1.0 if swin else 0.1,
            "steps": 554_400,
            "batch": 64,
            "schedule": drop,
            "augment": ResizeOrCropSpec(),
        },
    }


def _pft(model: Spec, task: Task) -> dict[str, Settings]:
    swin = _swin(model)
    common = dict(_maskformer(model, task)["ade20k"])
    warmup = {"warmup": 1500, "warmup_factor": 1e-6} if swin else {}
    common["schedule"] = PolySchedule(power=1.0, **warmup)
    if swin in ("base", "large"):
        common["backbone_lr_factor"] = 0.2
    return {
        "ade20k": common,
        "coco_stuff10k": {**common, **_MORE["coco_stuff10k"]},
        "pascal_context": {**common, **_MORE["pascal_context"]},
    }


def _panoptic_segformer(model: Spec, task: Task) -> dict[str, Settings]:
    common = {"batch": 8, "lr": 1.4e-4, "slow": _SAMPLING, "weight_decay": 1e-4, "decay_all": True}
    common |= {"clip": 0.1}
    ade20k = AugmentSpec(short_sides=tuple(range(512, 2049, 128)), flip=0.5)
    return {
        "coco": {**common, **_epochs(24, 18, COCO_IMAGES, 8), "augment": ResizeOrCropSpec()},
        "ade20k": {**common, **_epochs(100, 80, ADE20K_IMAGES, 8), "augment": ade20k},
    }


def _detr(model: Spec, task: Task) -> dict[str, Settings]:
    common = {"batch": 64, "weight_decay": 1e-4, "decay_all": True, "clip": 0.1}
    common |= {"augment": ResizeOrCropSpec()}
    return {"coco": {**common, **_epochs(300, 200, COCO_IMAGES, 64)}}


def _deformable_detr(model: Spec, task: Task) -> dict[str, Settings]:
    common = {**_detr(model, task)["coco"], "batch": 32, "lr": 2e-4, "slow": _SAMPLING}
    return {"coco": {**common, **_epochs(50, 40, COCO_IMAGES, 32)}}


_SYSTEMS: dict[str, Callable[[Spec, Task], dict[str, Settings]]] = {
    "mask2former": _mask2former,  # FASeg as well: the same assembly
    "maskformer": _maskformer,
    "pft": _pft,
    "panoptic_segformer": _panoptic_segformer,
    "detr": _detr,
    "deformable_detr": _deformable_detr,
}


def _epochs(epochs: int, drop: int, images: int, batch: int) -> Settings:
    """Steps of a run of `epochs`, with a drop of the rate after `drop` of them."""
    steps = -(-images // batch) * epochs
    return {"steps": steps, "schedule": StepSchedule(milestones=(drop / epochs,))}


def _swin(model: Spec) -> str | None:
    backbone = getattr(model, "backbone", None)
    return backbone.variant if isinstance(backbone, SwinSpec) else None


def _ade20k_size(model: Spec, task: Task) -> int:
    """Pixels of the short side: 640 for the large Swins, and where objects are told apart, else 512."""
    return 640 if task != "semantic" or _swin(model) in ("base", "large") else 512


def _known(dataset: str, recipes: Any) -> str:
    if dataset not in recipes:
        raise UserError(f"no recipe for dataset {dataset!r}{nearest(dataset, recipes)}")
    return dataset

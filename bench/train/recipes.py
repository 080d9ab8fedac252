"""The papers' training recipes by dataset, and how their images are shown to a model in testing."""

from bench.data.transforms import AugmentSpec, ade20k_augment, cityscapes_augment, scaled_augment
from bench.errors import UserError, nearest
from bench.evaluate.semantic import TestSpec
from bench.train.schedule import PolySchedule
from bench.train.spec import TrainSpec
from models.backbones import SwinSpec
from models.spec import Spec


def train_recipe(dataset: str, model: Spec) -> TrainSpec:
    """How Mask2Former and FASeg train `model` on `dataset` (released configs), or what we do where they do
    not.

    ADE20K: 160,000 steps of 16 images, crop 512, or 640 with Swin-B and Swin-L. Cityscapes: 90,000 steps,
    crop 512 x 1024. Both: AdamW, 1e-4, backbone x 0.1, weight decay 0.05, clip 0.01, poly 0.9. CamVid (ours):
    8,000 steps, crop 352 x 480, for backbones with ImageNet weights. embedded (ours): 2,000 steps of 4 images
    at 2e-3 from random weights.
    """
    recipes = {
        "ade20k": TrainSpec(augment=ade20k_augment(_ade20k_size(model))),
        "cityscapes": TrainSpec(steps=90_000, augment=cityscapes_augment()),
        "camvid": TrainSpec(
            steps=8_000,
            batch=8,
            lr=3e-4,
            clip=1.0,
            augment=scaled_augment(360, (352, 480)),
            checkpoint_every=200,
        ),
        "embedded": TrainSpec(
            steps=2_000,
            batch=4,
            lr=2e-3,
            backbone_lr_factor=1.0,
            clip=1.0,
            checkpoint_every=100,
            augment=AugmentSpec(flip=0.5),
            schedule=PolySchedule(warmup=10),
        ),
    }
    return recipes[_known(dataset, recipes)]


def overfit_recipe(images: int) -> TrainSpec:
    """Learning a few images by heart from random weights: 400 steps on all of them at once, unaugmented.

    A check that a model and its training work: every row of FASeg Table 4 at mini size passes 95 mIoU on 8
    images.
    """
    return TrainSpec(
        steps=400, batch=images, lr=2e-3, backbone_lr_factor=1.0, clip=1.0, augment=AugmentSpec(),
        schedule=PolySchedule(warmup=10), checkpoint_every=50,
    )  # fmt: skip


def test_recipe(dataset: str, model: Spec) -> TestSpec:
    """The sizes at which `model` is tested on `dataset` (released configs); the image's own on CamVid and
    embedded."""
    size = _ade20k_size(model)
    recipes = {
        "ade20k": TestSpec(short=size, longest=4 * size),
        "cityscapes": TestSpec(short=1024, longest=2048),
        "camvid": TestSpec(),
        "embedded": TestSpec(),
    }
    return recipes[_known(dataset, recipes)]


test_recipe.__test__ = False  # not a test case, whatever its name says


def _ade20k_size(model: Spec) -> int:
    """Pixels of the short side: 640 for the large Swins, else 512."""
    backbone = getattr(model, "backbone", None)
    return 640 if isinstance(backbone, SwinSpec) and backbone.variant in ("base", "large") else 512


def _known(dataset: str, recipes: dict) -> str:
    if dataset not in recipes:
        raise UserError(f"no recipe for dataset {dataset!r}{nearest(dataset, recipes)}")
    return dataset

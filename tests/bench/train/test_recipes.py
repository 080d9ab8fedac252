import pytest

import models
from bench.errors import UserError
from bench.evaluate import TestSpec
from bench.train.recipes import overfit_recipe, test_recipe, train_recipe
from bench.train.schedule import PolySchedule

R50, SWIN_L = models.preset("faseg_r50_ade20k"), models.preset("faseg_swin_l_ade20k")


def test_ade20k_is_the_released_recipe():
    spec = train_recipe("ade20k", R50)
    assert (spec.steps, spec.batch, spec.lr, spec.weight_decay, spec.clip) == (160_000, 16, 1e-4, 0.05, 0.01)
    assert spec.backbone_lr_factor == 0.1 and spec.schedule == PolySchedule(power=0.9)
    assert spec.augment.crop == (512, 512) and spec.augment.long_max == 2048
    assert spec.augment.short_sides[0] == 256 and spec.augment.short_sides[-1] == 1024
    assert test_recipe("ade20k", R50) == TestSpec(short=512, longest=2048)


def test_large_swins_see_640_pixels():
    assert train_recipe("ade20k", SWIN_L).augment.crop == (640, 640)
    assert test_recipe("ade20k", SWIN_L) == TestSpec(short=640, longest=2560)


def test_cityscapes_is_the_released_recipe():
    spec = train_recipe("cityscapes", R50)
    assert (spec.steps, spec.batch, spec.lr, spec.clip) == (90_000, 16, 1e-4, 0.01)
    assert spec.augment.crop == (512, 1024) and not spec.augment.pad
    assert test_recipe("cityscapes", R50) == TestSpec(short=1024, longest=2048)


def test_small_sets_are_tested_as_they_are():
    assert test_recipe("camvid", R50).short is None and test_recipe("embedded", R50).sizes((192, 192)) == [
        (192, 384)
    ]


def test_learning_by_heart_sees_the_same_images_at_every_step():
    spec = overfit_recipe(8)
    assert (spec.steps, spec.batch, spec.augment.flip, spec.augment.crop) == (400, 8, 0.0, None)


def test_unknown_dataset_names_the_nearest():
    with pytest.raises(UserError, match="no recipe for dataset 'ade20'.*ade20k"):
        train_recipe("ade20", R50)

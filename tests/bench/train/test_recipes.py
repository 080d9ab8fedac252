import pytest

import models
from bench.data.transforms import AugmentSpec, LargeScaleJitterSpec, ResizeOrCropSpec
from bench.errors import UserError
from bench.evaluate import TestSpec
from bench.train.recipes import overfit_recipe, test_recipe, train_recipe, without_dropout
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


def recipe(preset, dataset, task="semantic"):
    return train_recipe(dataset, models.preset(preset), task)


def test_coco_and_mapillary_of_mask2former():
    spec = recipe("mask2former_r50_ade20k", "coco", "panoptic")
    assert (spec.steps, spec.batch, spec.lr, spec.weight_decay) == (368_750, 16, 1e-4, 0.05)
    assert spec.task == "panoptic"
    assert spec.augment == LargeScaleJitterSpec(crop=(1024, 1024), low=0.1, high=2.0, flip=0.5, pad_value=128)
    rates = [spec.schedule.multiplier(step, spec.steps) for step in (327_777, 327_778, 355_091, 355_092)]
    assert rates == pytest.approx([1, 0.1, 0.1, 0.01])
    assert recipe("mask2former_swin_l_ade20k", "coco", "instance").steps == 737_500
    mapillary = recipe("mask2former_r50_ade20k", "mapillary")
    assert mapillary.steps == 300_000 and mapillary.augment.crop == (1024, 1024)
    assert recipe("mask2former_r50_ade20k", "ade20k", "panoptic").augment.crop == (640, 640)


def test_maskformer_is_the_released_recipe():
    spec = recipe("maskformer_r50_ade20k", "ade20k")
    assert (spec.steps, spec.lr, spec.weight_decay, spec.backbone_lr_factor) == (160_000, 1e-4, 1e-4, 0.1)
    assert spec.schedule == PolySchedule() and spec.clip == 0.01
    swin = recipe("maskformer_swin_t_ade20k", "ade20k")
    assert (swin.lr, swin.weight_decay, swin.backbone_lr_factor) == (6e-5, 0.01, 1.0)
    multipliers = {0: 1e-6, 1: 0.00066766224437, 10: 0.006667284942952924, 40_000: 0.7718895067235705}
    for step, released in multipliers.items():
        assert swin.schedule.multiplier(step, swin.steps) == pytest.approx(released, rel=1e-6)
    coco = recipe("maskformer_r50_ade20k", "coco", "panoptic")
    assert (coco.steps, coco.batch, coco.lr, coco.weight_decay) == (554_400, 64, 1e-4, 1e-4)
    assert coco.augment == ResizeOrCropSpec()
    assert coco.schedule.decay(369_599, 554_400) == 1.0 and coco.schedule.decay(369_600, 554_400) == 0.1


def test_pft_is_the_printed_recipe():
    spec = recipe("pft_r50_ade20k", "ade20k")
    assert (spec.steps, spec.batch, spec.lr, spec.weight_decay) == (160_000, 16, 1e-4, 1e-4)
    assert spec.schedule == PolySchedule(power=1.0) and spec.backbone_lr_factor == 0.1
    rates = {name: recipe(f"pft_{name}_ade20k", "ade20k") for name in ("swin_t", "swin_l")}
    assert [s.backbone_lr_factor for s in rates.values()] == [1.0, 0.2]
    assert [(s.lr, s.weight_decay) for s in rates.values()] == [(6e-5, 0.01)] * 2
    stuff, context = (recipe("pft_r50_ade20k", name) for name in ("coco_stuff10k", "pascal_context"))
    assert (stuff.steps, stuff.batch, stuff.augment.crop) == (60_000, 32, (640, 640))
    assert (context.steps, context.batch, context.augment.crop) == (40_000, 16, (480, 480))


def test_maskformer_re_run_by_others_trains_as_long_as_theirs():
    stuff, context = (recipe("maskformer_r50_ade20k", name) for name in ("coco_stuff10k", "pascal_context"))
    assert (stuff.steps, stuff.batch, stuff.lr, stuff.weight_decay) == (60_000, 32, 1e-4, 1e-4)
    assert (context.steps, context.batch, context.augment.crop) == (40_000, 16, (480, 480))
    assert recipe("maskformer_r50_ade20k", "mapillary").steps == 300_000


def test_panoptic_segformer_is_the_released_recipe():
    spec = recipe("panoptic_segformer_r50_coco", "coco", "panoptic")
    assert (spec.lr, spec.weight_decay, spec.decay_all, spec.clip, spec.batch) == (1.4e-4, 1e-4, True, 0.1, 8)
    assert spec.steps == 24 * 14_786 and spec.slow == ("backbone", "sampling_offsets", "reference")
    assert [spec.schedule.decay(e * 14_786, spec.steps) for e in (17, 18, 23)] == pytest.approx([1, 0.1, 0.1])
    assert recipe("panoptic_segformer_r50_coco", "ade20k", "panoptic").steps == 100 * 2527


def test_detr_and_deformable_detr_are_the_printed_recipes():
    spec = recipe("detr_r50_coco_panoptic", "coco", "panoptic")
    assert (spec.lr, spec.backbone_lr_factor, spec.weight_decay, spec.clip) == (1e-4, 0.1, 1e-4, 0.1)
    assert spec.decay_all and spec.batch == 64 and spec.steps == 300 * 1849
    other = recipe("deformable_detr_r50_coco_panoptic", "coco", "panoptic")
    assert (other.lr, other.batch, other.steps) == (2e-4, 32, 50 * 3697)
    assert other.slow == ("backbone", "sampling_offsets", "reference")


@pytest.mark.parametrize("system", ["detr_r50", "deformable_detr_r50", "panoptic_segformer_r50"])
def test_the_line_of_detr_resizes_or_crops_on_coco(system):
    preset = next(name for name in models.presets() if name.startswith(f"{system}_coco"))
    found = recipe(preset, "coco", "panoptic").augment
    assert isinstance(found, ResizeOrCropSpec) and not isinstance(found, AugmentSpec)
    assert found.short_sides == (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    assert (found.long_max, found.first_sides, found.crop_range) == (1333, (400, 500, 600), (384, 600))


@pytest.mark.parametrize("system", ["mask2former", "maskformer"])
@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_ade20k_with_objects_apart_is_seen_at_640_pixels(system, task):
    spec = models.preset(f"{system}_r50_ade20k")
    assert train_recipe("ade20k", spec, task).augment.crop == (640, 640)
    assert test_recipe("ade20k", spec, task) == TestSpec(short=640, longest=2560)
    assert test_recipe("ade20k", spec) == TestSpec(short=512, longest=2048)
    steps = {"mask2former": 160_000, "maskformer": 720_000}
    assert train_recipe("ade20k", spec, task).steps == steps[system]


@pytest.mark.parametrize("name", ["embedded", "camvid"])
def test_our_recipes_are_the_same_for_all_systems(name):
    semantic, panoptic = (recipe("pft_r50_ade20k", name, task) for task in ("semantic", "panoptic"))
    assert panoptic == semantic.override({"task": "panoptic"}) and semantic == train_recipe(name, R50)


def test_a_system_is_not_trained_on_everything():
    with pytest.raises(UserError, match="no recipe for dataset 'cityscapes'"):
        recipe("detr_r50_coco_panoptic", "cityscapes", "panoptic")


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


def test_learning_by_heart_is_undisturbed():
    spec = without_dropout(models.preset("panoptic_segformer_r50_coco"))
    assert spec.encoder.dropout == spec.location.dropout == 0.0
    back = spec.override({"encoder.dropout": 0.1, "location.dropout": 0.1})
    assert back == models.preset("panoptic_segformer_r50_coco")
    slow = overfit_recipe(4, models.preset("detr_r50_coco_panoptic"))
    assert (slow.steps, slow.clip) == (800, None) and overfit_recipe(4, R50) == overfit_recipe(4)

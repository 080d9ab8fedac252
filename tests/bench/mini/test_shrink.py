"""Every preset at CPU size, on `meta`."""

import pytest

import models
from bench.data.classes import dataset_classes
from bench.mini.shrink import BACKBONE, QUERIES, shrink
from bench.tasks import fit_classes, split_preset, task_info, things_first

FIRST = {}  # of each system, the first preset for each task
for _name in models.presets():
    FIRST.setdefault((models.preset(_name).part, "faseg" in _name, split_preset(_name)[1]), _name)


def small(name):
    spec, (_, task) = models.preset(name), split_preset(name)
    info = task_info(dataset_classes("embedded"), task, things_first(spec))
    return shrink(fit_classes(spec, info), task), task


@pytest.mark.parametrize("name", FIRST.values())
def test_every_system_can_be_trained_on_a_cpu(name):
    spec, task = small(name)
    model = spec.build("meta")
    assert 500_000 < sum(p.numel() for p in model.parameters()) < 2_000_000
    assert task in model.inference.tasks
    assert spec.backbone.layers == tuple(BACKBONE["layers"]) and spec.backbone.frozen_stages == -1
    assert spec.num_classes == {"semantic": 12, "panoptic": 12, "instance": 6}[task]


def test_what_is_small_already_stays():
    spec = models.preset("mask2former_r50_ade20k").override({"decoder.num_queries": 7, "loss.points": 3})
    assert (shrink(spec).decoder.num_queries, shrink(spec).loss.points) == (7, 3)
    assert shrink(models.preset("mask2former_r50_ade20k")).decoder.num_queries == QUERIES["semantic"]


def test_what_ablations_vary_is_kept():
    pft = models.preset("pft_r50_ade20k")
    assert shrink(pft).decoder.layers == pft.decoder.layers and shrink(pft).decoder.strides == (32, 16, 8)
    assert shrink(pft).decoder.feed_forward.after_self == 0
    located = models.preset("panoptic_segformer_r50_coco").override({"location.layers": 2})
    assert shrink(located).location.layers == 2 and shrink(located).things.layers == 4


def test_backbones_of_all_kinds_become_the_same():
    names = ("pft_r101c_ade20k", "pft_swin_t_ade20k", "panoptic_segformer_pvt_v2_b0_coco")
    assert len({shrink(models.preset(name)).backbone for name in names}) == 1


def test_the_mask_head_keeps_channels_for_its_groups():
    assert shrink(models.preset("detr_r50_coco_panoptic"), "panoptic").decoder.dim == 128

from collections import Counter

import pytest
import torch
from torch import nn

import models
from bench.train import TrainSpec
from bench.train.optimizer import build_optimizer, parameter_settings, set_learning_rate
from bench.train.recipes import train_recipe
from tests.bench.train.tiny import TinySpec

# How many parameters the released training gives which (learning rate, weight decay), in units of 1e-5 and 1.
# From `build_optimizer` of Mask2Former (9b0651c6) and FASeg (206b3a13) on the released configs.
RELEASED = {
    "mask2former_r50_ade20k": {(10, 0.05): 199, (10, 0.0): 93, (1, 0.05): 53},
    "mask2former_r50_cityscapes": {(10, 0.05): 199, (10, 0.0): 93, (1, 0.05): 53, (1, 0.0): 106},
    "mask2former_swin_t_ade20k": {(10, 0.05): 199, (10, 0.0): 93, (1, 0.05): 101, (1, 0.0): 76},
    "faseg_r50_ade20k": {(10, 0.05): 261, (10, 0.0): 119, (1, 0.05): 53},
    "faseg_swin_t_ade20k": {(10, 0.05): 261, (10, 0.0): 119, (1, 0.05): 101, (1, 0.0): 76},
}


@pytest.mark.parametrize("preset", RELEASED)
def test_groups_are_the_released_ones(preset):
    settings = list(parameter_settings(models.build(preset, "meta"), TrainSpec()))
    counts = Counter((round(rate * 1e5, 9), decay) for _, _, rate, decay in settings)
    assert counts == RELEASED[preset]


MASKFORMER = {
    "maskformer_r50_ade20k": {(10, 0.0001): 91, (1, 0.0001): 53, (10, 0.0): 53},
    "maskformer_swin_t_ade20k": {(6, 0.01): 192, (6, 0.0): 129},
}
"""From `build_optimizer` of MaskFormer on the released configs."""


@pytest.mark.parametrize("preset", MASKFORMER)
def test_groups_of_maskformer_are_the_released_ones(preset):
    spec = train_recipe("ade20k", models.preset(preset))
    settings = parameter_settings(models.build(preset, "meta"), spec)
    counts = Counter((round(rate * 1e5, 9), decay) for _, _, rate, decay in settings)
    assert counts == MASKFORMER[preset]


@pytest.mark.parametrize("preset", ["panoptic_segformer_r50_coco", "deformable_detr_r50_coco_panoptic"])
def test_sampling_offsets_and_reference_points_learn_slower(preset):
    spec = train_recipe("coco", models.preset(preset), "panoptic")
    settings = list(parameter_settings(models.build(preset, "meta"), spec))
    assert {decay for *_, decay in settings} == {1e-4}
    slow = {name for name, _, rate, _ in settings if rate == pytest.approx(spec.lr / 10)}
    heads = {name for name in slow if not name.startswith("backbone.")}
    assert {name.split(".")[-2] for name in heads} == {"sampling_offsets", "reference"}
    assert len(heads) == 2 * 12 + 2  # six layers of encoder and decoder each, one layer for the first points
    assert all(name in slow for name, *_ in settings if name.startswith("backbone."))


def test_what_is_decayed_and_what_is_not():
    model = models.build("faseg_swin_t_ade20k", "meta")
    decay = {name: decay for name, _, _, decay in parameter_settings(model, TrainSpec())}
    rate = {name: rate for name, _, rate, _ in parameter_settings(model, TrainSpec())}
    assert decay["decoder.content.weight"] == decay["decoder.level_embedding.weight"] == 0.0
    assert decay["pixel_decoder.encoder.level_embedding"] == 0.05
    assert decay["decoder.head.norm.weight"] == decay["decoder.head.norm.bias"] == 0.0
    assert decay["pixel_decoder.projections.32.0.bias"] == 0.05
    assert decay["pixel_decoder.projections.32.1.bias"] == 0.0
    assert rate["pixel_decoder.encoder.layers.0.attention.sampling_offsets.weight"] == 1e-4
    tables = [name for name in decay if name.endswith("relative_position_bias_table")]
    assert len(tables) == 12 and all(
        decay[name] == 0.0 and rate[name] == pytest.approx(1e-5) for name in tables
    )


def test_every_trained_parameter_is_in_one_group():
    model = TinySpec().build()
    model.query_feat.weight.requires_grad_(False)
    model.mask_again = model.mask  # a shared module counts once
    optimizer = build_optimizer(model, TrainSpec())
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(trained) == len(set(trained)) == sum(p.requires_grad for p in model.parameters())
    settings = {(round(g["lr"] * 1e5, 9), g["weight_decay"]) for g in optimizer.param_groups}
    assert settings == {(10, 0.05), (1, 0.05), (1, 0.0)}
    assert optimizer.defaults["betas"] == (0.9, 0.999) and optimizer.defaults["eps"] == 1e-8


def test_the_rate_of_every_group_follows_the_schedule():
    optimizer = build_optimizer(TinySpec().build(), TrainSpec(lr=1e-3, backbone_lr_factor=0.5))
    for multiplier in (0.5, 0.25):
        set_learning_rate(optimizer, multiplier)
        rates = sorted({group["lr"] for group in optimizer.param_groups})
        assert rates == pytest.approx([5e-4 * multiplier, 1e-3 * multiplier])


def test_nothing_to_train():
    with pytest.raises(ValueError, match="no trainable parameters"):
        build_optimizer(nn.Linear(2, 2).requires_grad_(False), TrainSpec())


def test_a_weight_moves_as_adamw_moves_it():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    optimizer = build_optimizer(layer, TrainSpec(lr=0.1, weight_decay=0.5))
    layer.weight.grad = torch.full((1, 1), 3.0)
    optimizer.step()
    assert layer.weight.item() == pytest.approx(
        2.0 * (1 - 0.1 * 0.5) - 0.1
    )  # the first step of Adam has length lr

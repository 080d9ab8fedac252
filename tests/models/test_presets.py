"""Presets: names, and parameter counts of the authors' released models, by part, as literal figures."""

import time

import pytest
import torch

from models import SpecError, build, from_dict, preset, presets, to_dict
from models.mask2former import Mask2FormerSpec

# backbone, pixel decoder, transformer decoder; counted on the released code (see README.md in models)
COUNTS = {
    "mask2former_r50_ade20k": (23_454_912, 6_035_904, 14_497_431),
    "mask2former_r101_ade20k": (42_500_160, 6_035_904, 14_497_431),
    "mask2former_swin_t_ade20k": (27_520_698, 5_421_504, 14_497_431),
    "mask2former_swin_s_ade20k": (48_838_602, 5_421_504, 14_497_431),
    "mask2former_swin_b_ade20k": (86_880_376, 5_544_384, 14_497_431),
    "mask2former_swin_l_ade20k": (195_201_204, 5_790_144, 14_497_431),
    "mask2former_r50_cityscapes": (23_508_032, 6_035_904, 14_463_764),
    "mask2former_r101_cityscapes": (42_500_160, 6_035_904, 14_463_764),
    "faseg_r50_ade20k": (23_454_912, 6_112_448, 20_944_279),
    "faseg_swin_t_ade20k": (27_520_698, 5_457_088, 20_944_279),
    "faseg_swin_b_ade20k": (86_880_376, 5_588_160, 20_944_279),
    "faseg_swin_l_ade20k": (195_201_204, 5_850_304, 20_944_279),
    "faseg_r50_cityscapes": (23_508_032, 6_112_448, 20_910_612),
}

DFPQ = {"pixel_decoder.positions": "conditional", "decoder.queries": "dfpq"}
HRCA = {
    "decoder.high_resolution": "hrca",
    "decoder.schedule": [32, 16, 8, 4, 32, 16, 8, 4, 32, 16, 8, 4, 32],
}
THRESHOLD = {"decoder.attention.threshold": 0.15}


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_equal_the_released_models(name):
    start = time.perf_counter()
    model = build(name, device="meta")
    seconds = time.perf_counter() - start
    parts = (count(model.backbone), count(model.pixel_decoder), count(model.decoder))
    assert parts == COUNTS[name]
    assert count(model) == sum(parts)
    assert seconds < 5  # a fraction of a second on an idle machine
    output = model.eval()(torch.empty(2, 3, 64, 96, device="meta"))
    classes = 20 if "cityscapes" in name else 151
    assert output.class_logits.shape == (2, 100, classes)
    assert output.mask_logits.shape == (2, 100, 16, 24)
    assert len(output.auxiliary) == (13 if "faseg" in name else 9)


@pytest.mark.parametrize(
    ("overrides", "total"),
    [({}, 43_988_247), (DFPQ, 44_127_511), (HRCA, 50_303_511), ({**DFPQ, **HRCA}, 50_511_639)],
)
def test_the_four_rows_of_faseg_table_4(overrides, total):
    assert count(build("mask2former_r50_ade20k", device="meta", overrides=overrides)) == total


def test_faseg_is_mask2former_with_both_and_loses_them_again():
    base, full = preset("mask2former_r50_ade20k"), preset("faseg_r50_ade20k")
    assert base.override({**DFPQ, **HRCA, **THRESHOLD}) == full
    without_hrca = {"decoder.high_resolution": None, "decoder.schedule": [32, 16, 8] * 3}
    assert full.override(without_hrca) == base.override({**DFPQ, **THRESHOLD})
    without_dfpq = {"decoder.queries": "learnable", "pixel_decoder.positions": "sinusoidal"}
    assert full.override(without_dfpq) == base.override({**HRCA, **THRESHOLD})


def test_released_faseg():
    plain = to_dict(preset("faseg_r50_ade20k"))
    assert plain["pixel_decoder"]["positions"] == {"part": "conditional", "finest": "projected"}
    decoder = plain["decoder"]
    assert decoder["schedule"] == [32, 16, 8, 4] * 3 + [32]
    assert decoder["attention"] == {"part": "masked", "threshold": 0.15, "scores": "masked"}
    assert decoder["high_resolution"] == {
        "part": "hrca",
        "score_stride": 32,
        "selection": {"part": "cells", "fraction": 32},
    }
    assert decoder["queries"] == {
        "part": "dfpq",
        "initial": "background",
        "project_initial": True,
        "high_resolution": "learnable",
        "self_attention": "dynamic",
        "update_after": "masked",
    }


def test_faseg_of_the_paper():
    model = build("faseg_r50_ade20k", device="meta", variant="paper")
    assert count(model) == 48_932_887  # 12 blocks: the printed 51 M need the released code's thirteenth
    plain = to_dict(model.spec)["decoder"]
    assert plain["schedule"] == [32, 16, 8, 4] * 3
    assert plain["attention"]["threshold"] == 0.5
    assert plain["high_resolution"]["selection"] == {"part": "pixels", "fraction": 32}
    assert plain["queries"] == {
        "part": "dfpq",
        "initial": "foreground",
        "project_initial": True,
        "high_resolution": "dynamic",
        "self_attention": "dynamic",
        "update_after": "all",
    }


@pytest.mark.parametrize(
    ("overrides", "total"),
    [
        # no projection of its own at stride 4: the 50 M, 72 G build that the printed FLOPs speak of
        ({"pixel_decoder.positions.finest": "lateral"}, 50_511_639 - 66_304),
        # encodings of the pixel decoder's output; sinusoids inside the pixel decoder
        ({"pixel_decoder.positions": "sinusoidal", "decoder.positions": "conditional"}, 50_511_639 - 66_304),
        # rows and columns for a crop of 512 at four strides
        ({"pixel_decoder.positions": "learnable"}, 50_511_639 - 66_304 - 10_240 + 256 * (16 + 32 + 64 + 128)),
        # full attention at stride 4 in place of HRCA: the same weights
        ({"decoder.high_resolution": None}, 50_511_639),
        ({"decoder.num_queries": 50}, 50_511_639 - 2 * 50 * 256),
    ],
)
def test_other_forms_of_faseg(overrides, total):
    model = build("faseg_r50_ade20k", device="meta", overrides=overrides)
    assert count(model) == total
    assert model(torch.empty(1, 3, 64, 64, device="meta")).mask_logits.shape[-2:] == (16, 16)


def test_build_takes_overrides_as_keywords():
    model = build("mask2former_r50_ade20k", device="meta", decoder__num_queries=7, num_classes=3)
    assert model.spec.decoder.num_queries == 7
    assert model.decoder.head.classes.out_features == 4


@pytest.mark.parametrize("name", presets())
def test_every_spec_survives_json(name):
    spec = preset(name)
    assert from_dict(Mask2FormerSpec, to_dict(spec)) == spec


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(SpecError, match="nearest: faseg_r50_ade20k"):
        preset("faseg_r50_ade")
    with pytest.raises(SpecError, match="no variant 'paper'"):
        preset("mask2former_r50_ade20k", variant="paper")
    with pytest.raises(SpecError, match="nearest: decoder.num_queries"):
        build("mask2former_r50_ade20k", device="meta", decoder__num_query=7)


@pytest.mark.parametrize(
    "path",
    [
        "num_classes", "backbone.width", "pixel_decoder.heads", "pixel_decoder.norm_groups", "decoder.dim",
        "decoder.heads", "decoder.num_queries", "loss.points", "decoder.high_resolution.selection.fraction",
    ],
)  # fmt: skip
def test_sizes_must_be_positive(path):
    name = path.rsplit(".", 1)[-1]
    with pytest.raises(SpecError, match=f": {name} must be at least 1, not 0"):
        preset("faseg_r50_ade20k").override({path: 0})

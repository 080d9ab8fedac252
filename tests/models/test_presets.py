"""Presets: names, and parameter counts of the authors' released models, by part, as literal figures."""

import re
import time
import zlib

import pytest
import torch

from models import SpecError, build, from_dict, preset, presets, to_dict, to_official

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

# where segments are told apart; of COCO and Mapillary the totals alone were counted on the released code
TASKS = {
    "mask2former_r50_ade20k_panoptic": 43_988_247,
    "mask2former_swin_l_ade20k_panoptic": 215_539_979,
    "mask2former_r50_ade20k_instance": 43_975_397,
    "mask2former_swin_l_ade20k_instance": 215_527_129,
    "mask2former_r50_cityscapes_panoptic": 44_007_700,
    "mask2former_r101_cityscapes_panoptic": 62_999_828,
    "mask2former_swin_s_cityscapes_panoptic": 68_723_870,
    "mask2former_swin_b_cityscapes_panoptic": 106_888_524,
    "mask2former_swin_l_cityscapes_panoptic": 215_506_312,
    "mask2former_r50_cityscapes_instance": 44_004_873,
    "mask2former_r101_cityscapes_instance": 62_997_001,
    "mask2former_swin_t_cityscapes_instance": 47_403_139,
    "mask2former_swin_s_cityscapes_instance": 68_721_043,
    "mask2former_swin_b_cityscapes_instance": 106_885_697,
    "mask2former_swin_l_cityscapes_instance": 215_503_485,
    "mask2former_r50_coco_panoptic": 43_983_878,
    "mask2former_r101_coco_panoptic": 62_923_782,
    "mask2former_swin_t_coco_panoptic": 47_435_264,
    "mask2former_swin_s_coco_panoptic": 68_753_168,
    "mask2former_swin_b_coco_panoptic": 106_917_822,
    "mask2former_swin_l_coco_panoptic": 215_535_610,
    "mask2former_r50_coco_instance": 43_970_257,
    "mask2former_r101_coco_instance": 62_910_161,
    "mask2former_swin_t_coco_instance": 47_421_643,
    "mask2former_swin_s_coco_instance": 68_739_547,
    "mask2former_swin_b_coco_instance": 106_904_201,
    "mask2former_swin_l_coco_instance": 215_521_989,
}
PIXEL_DECODER = {
    "r50": 6_035_904, "r101": 6_035_904, "swin_t": 5_421_504, "swin_s": 5_421_504, "swin_b": 5_544_384,
    "swin_l": 5_790_144,
}  # fmt: skip
DECODER = {"ade20k": 14_497_431, "cityscapes": 14_463_764}  # 100 queries, semantic or panoptic

# entries of the released checkpoints, without constants, and a checksum over their sorted names and shapes
KEYS = {
    "mask2former_r50_ade20k": (557, 3_453_719_898),
    "mask2former_swin_l_ade20k": (625, 1_828_076_155),
    "mask2former_swin_t_ade20k": (469, 832_873_171),
    "mask2former_r50_cityscapes": (610, 4_013_304_805),
    "mask2former_r50_coco_instance": (557, 264_658_666),
    "mask2former_r50_coco_panoptic": (557, 1_137_767_874),
    "mask2former_swin_l_coco_panoptic": (625, 880_767_839),
    "faseg_r50_ade20k": (645, 2_965_942_292),
    "faseg_swin_b_ade20k": (713, 2_423_864_519),
    "faseg_swin_l_ade20k": (713, 1_964_247_773),
    "faseg_swin_t_ade20k": (557, 867_839_425),
    "faseg_r50_cityscapes": (698, 2_503_756_784),
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


@pytest.mark.parametrize("name", TASKS)
def test_parameters_of_panoptic_and_instance_models(name):
    model = build(name, device="meta")
    assert count(model) == TASKS[name]
    backbone, dataset = re.fullmatch("mask2former_(swin_.|r50|r101)_([^_]+)_.+", name).groups()
    assert count(model.pixel_decoder) == PIXEL_DECODER[backbone]
    if dataset in DECODER and name.endswith("panoptic") and backbone != "swin_l":
        assert count(model.decoder) == DECODER[dataset]
    assert model.spec.decoder.num_queries == (200 if backbone == "swin_l" else 100)
    assert model.spec.inference.masks_first


@pytest.mark.parametrize("name", KEYS)
def test_names_and_shapes_equal_the_released_checkpoints(name):
    state = to_official(build(name, device="meta"))
    lines = sorted(f"{key} {'x'.join(map(str, tensor.shape))}" for key, tensor in state.items())
    assert (len(lines), zlib.crc32("\n".join(lines).encode())) == KEYS[name]


def test_mapillary_lets_every_query_take_part():
    for name, queries in (
        ("mask2former_r50_mapillary", 100),
        ("mask2former_swin_l_mapillary", 100),
        ("mask2former_r50_mapillary_panoptic", 100),
        ("mask2former_swin_l_mapillary_panoptic", 200),
    ):
        spec = preset(name)
        assert (spec.num_classes, spec.decoder.num_queries) == (65, queries)
        assert (spec.inference.object_threshold, spec.inference.overlap_threshold) == (0.0, 0.8)
        assert spec.inference.masks_first == name.endswith("panoptic")
    assert preset("mask2former_r50_mapillary").backbone.norm == "frozen"
    assert preset("mask2former_r50_coco_panoptic").inference.object_threshold == 0.8
    assert not preset("mask2former_r50_ade20k").inference.masks_first


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
        "begin": 0.0,
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
        "begin": 0.0,
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
    assert from_dict(type(spec), to_dict(spec)) == spec


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


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("mask2former_r50_ade20k", "decoder.dropout"),
        ("mask2former_swin_t_ade20k", "backbone.drop_path"),
        ("maskformer_r50_coco_panoptic", "decoder.dropout"),
        ("maskformer_r50_coco_panoptic", "pixel_decoder.encoder.dropout"),
        ("pft_r50_ade20k", "decoder.dropout"),
        ("detr_r50_coco_panoptic", "encoder.dropout"),
        ("panoptic_segformer_r50_coco", "encoder.dropout"),
        ("panoptic_segformer_r50_coco", "location.dropout"),
    ],
)
def test_rates_are_below_1(name, path):
    spec = preset(name)
    for value in (-0.1, 1.0, float("nan")):
        with pytest.raises(SpecError, match=rf"must be in \[0, 1\), not {value}"):
            spec.override({path: value})
    spec.override({path: 0})

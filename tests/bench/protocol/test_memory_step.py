"""A whole training step: fake tensors against real ones, and what the settings change."""

import json
from dataclasses import replace

import pytest

import models
from bench.cli import main
from bench.protocol.memory import CONTEXT, PROCESS, PROTOCOL, MemorySetting, predict, predict_cell
from bench.protocol.memory.papers import paper_setting
from bench.protocol.memory.step import run_step
from bench.protocol.memory.tracker import Tracker
from models.spec import SpecError, override

TINY = {"backbone.layers": (1, 1, 1, 1), "backbone.block": "basic", "backbone.width": 8}
SMALL = MemorySetting(batch=2, crop=(256, 128), objects=3)


def tiny(name, **changes):
    return override(models.preset(name), {**TINY, **changes})


SHORT = {"pixel_decoder.layers": 1}
MASK2FORMER = tiny("mask2former_r50_ade20k", **SHORT, **{"decoder.schedule": (32, 8)})
FASEG = tiny("faseg_r50_ade20k", **SHORT, **{"decoder.schedule": (32, 8, 4, 32)})
PFT = tiny("pft_r50_ade20k", **{"decoder.layers": 1, "decoder.strides": (32, 16)})


@pytest.mark.parametrize("amp", ["off", "bf16"])
@pytest.mark.parametrize("spec", [MASK2FORMER, FASEG, PFT], ids=["mask2former", "faseg", "pft"])
def test_fake_tensors_take_what_real_ones_take(spec, amp):
    setting = replace(SMALL, amp=amp)
    tracker = Tracker()
    rest = run_step(spec.build(device="meta"), setting, tracker)
    predicted = predict(spec, setting)
    assert predicted.phases == tracker.peaks
    assert predicted.rest == rest
    assert predicted.peak == max(tracker.peaks.values())
    assert predicted.reserved == tracker.allocator.reserved > predicted.peak
    assert predicted.by_protocol == {PROTOCOL: predicted.peak, PROCESS: predicted.reserved + CONTEXT}


def test_what_lives_through_the_step():
    predicted = predict(MASK2FORMER, replace(SMALL, buckets=True))
    rest = predicted.rest
    # Two moments and a step count for each parameter; blocks round all of them up.
    assert rest["gradients"] == rest["buckets"] == rest["parameters"]
    assert rest["optimizer"] > 2 * rest["parameters"]
    # 2 images of 3 channels in float32, 2 x 3 masks of one byte, labels and the optimizer's counters aside
    assert rest["batch"] == 2 * 3 * 256 * 128 * 4 + 2 * 3 * 256 * 128 + 2 * 512
    assert predicted.peak > sum(rest.values())
    freed = predict(MASK2FORMER, replace(SMALL, keep_gradients=False))
    assert "gradients" not in freed.rest
    assert freed.phases["forward"] < predicted.phases["forward"] - rest["gradients"]


def test_the_loss_on_masks_costs_more_than_on_points_as_in_table_5():
    def peak(matching, training, objects):
        spec = override(MASK2FORMER, {"loss.matching": matching, "loss.training": training})
        return predict(spec, replace(SMALL, crop=(512, 512), objects=objects)).peak

    on_masks = peak("points", "masks", 30)
    assert on_masks > 1.2 * peak("points", "points", 30)
    assert peak("masks", "masks", 30) == pytest.approx(on_masks, rel=0.1)


def test_attention_that_is_written_out_takes_more_than_ours():
    ours, authors, released = (
        predict(FASEG, replace(SMALL, formulation=name)).peak for name in ("ours", "authors", "released")
    )
    assert ours < authors < released


def test_the_statement_names_every_assumption():
    text = "\n".join(predict(MASK2FORMER, replace(SMALL, amp="fp16")).assumptions())
    for part in ("batch 2 of 256x128", "3 objects", "fp16", "AdamW", "second step", "CUDA context"):
        assert part in text


def test_a_cell_takes_its_papers_settings():
    found = predict_cell("pft", PFT, batch=2, crop=(64, 64), dataset="ade20k").setting
    assert found == MemorySetting(batch=2, crop=(64, 64), objects=20, amp="off", buckets=True)
    assert paper_setting("mask2former", 1, (64, 64), "coco_instance").objects == 93


def test_what_cannot_be_predicted_says_so():
    with pytest.raises(SpecError, match="panoptic_segformer.*reads numbers"):
        predict(tiny("panoptic_segformer_r50_coco"), replace(SMALL, batch=1, crop=(64, 64)))
    with pytest.raises(SpecError, match="multiples of 32"):
        replace(SMALL, crop=(100, 128))
    with pytest.raises(SpecError, match="at least 1"):
        replace(SMALL, batch=0)
    with pytest.raises(SpecError, match="no number format 'fp8'"):
        replace(SMALL, amp="fp8")
    with pytest.raises(SpecError, match="no formulation"):
        replace(SMALL, formulation="theirs")
    with pytest.raises(SpecError, match="no training memory is known of 'detr'"):
        paper_setting("detr", 1, (64, 64), "coco")


def test_the_command_prints_the_peak_and_its_assumptions(capsys):
    changes = {**TINY, **SHORT, "decoder.schedule": (32, 8)}
    sets = [f"--set={path}={json.dumps(value).strip(chr(34))}" for path, value in changes.items()]
    arguments = ["measure", "mask2former_r50_ade20k", "--memory", "--crop=64", "--objects=2", *sets]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "memory/predicted-v1" in text and "batch 1 of 64x64, 2 objects" in text
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["peak"] == max(found["phases"].values())
    assert f"{found['peak']:,}" in text

"""Regression checks: what counts as moved, how the baseline is kept, and what the command says."""

import contextlib
import json
import math

import pytest
import torch

import models
from bench import regress
from bench.cli import main
from bench.errors import UserError
from bench.regress import (
    Baseline,
    Change,
    Counts,
    Mini,
    Operators,
    Settings,
    Systems,
    operators,
    summary,
    systems,
)
from bench.regress import baseline as baseline_file
from bench.regress.mini import spread
from bench.regress.predictions import given
from bench.regress.systems import first_presets
from models.inference.base import InferenceSpec
from models.outputs import BoxOutput
from models.spec import parts


def moved(check, was, now, same=True):
    return [change.quantity for change in check.compare(was, now, same)]


def test_a_count_must_be_equal():
    assert moved(Counts(), {"a": [44.0], "b": [1.0]}, {"a": [44.0], "b": [1.0 + 1e-12]}) == ["b"]
    assert moved(Counts(), {"a": [1.0]}, {"b": [1.0]}) == ["a", "b"]  # gone, new


@pytest.mark.parametrize(
    ("change", "same", "expected"),
    [
        (lambda step, loss: loss * (1 + 5e-5), True, []),
        (lambda step, loss: loss * (1 + 5e-4), True, ["x, losses"]),
        (lambda step, loss: loss * (1 + 5e-4), False, []),
        (lambda step, loss: loss * (1.01 if step < 3 else 1), False, ["x, losses"]),
        (lambda step, loss: loss * (1.2 if step > 40 else 1), False, []),
        (lambda step, loss: loss * (1.5 if step >= 40 else 1), False, ["x, losses"]),
    ],
)
def test_losses_may_differ_by_rounding(change, same, expected):
    was = {"x, losses": [100 - step for step in range(50)]}
    now = {"x, losses": [change(step, loss) for step, loss in enumerate(was["x, losses"])]}
    assert moved(Systems(), was, now, same) == expected


def test_results_must_have_the_same_segments():
    was = {"x, panoptic results": [3.0, 100.0, 4.0, 50.0]}
    assert moved(Systems(), was, {"x, panoptic results": [3.0, 100.0]}) == ["x, panoptic results"]
    assert moved(Systems(), was, {"x, panoptic results": [3.0, 101.0, 4.0, 50.0]}) == ["x, panoptic results"]
    assert moved(Systems(), was, {"x, panoptic results": [3.0, 100.5, 4.0, 50.0]}, same=False) == []


def test_an_operator_may_lose_half_of_its_ratio():
    assert moved(Operators(), {"f": [30.0]}, {"f": [15.1]}) == []
    assert moved(Operators(), {"f": [30.0]}, {"f": [14.9]}) == ["f"]
    assert moved(Operators(), {"f": [30.0]}, {"f": [1.5]}, same=False) == []
    assert moved(Operators(), {"f": [30.0]}, {"f": [0.9]}, same=False) == ["f"]


def test_an_operator_must_agree_with_its_reference():
    name = "f, error"
    assert moved(Operators(), {name: [3e-7]}, {name: [9e-6]}) == []
    assert moved(Operators(), {name: [3e-7]}, {name: [2e-5]}, same=False) == [name]
    assert moved(Operators(), {name: [3e-7]}, {name: [math.nan]}) == [name]


@pytest.mark.parametrize("direction", ["forward", "forward and backward"])
def test_the_error_of_an_operator_is_measured(direction):
    ours, reference = operators._directions()[direction]
    assert operators._error(ours, reference) < operators.EXACT
    assert operators._error(lambda: 1.01 * ours(), reference) == pytest.approx(0.01, rel=1e-3)


def test_every_inference_is_checked():
    used = {models.preset(job.preset).inference.part for job in first_presets()}
    others = {name for names in systems.INFERENCES.values() for name in names}
    assert used | others == set(parts(InferenceSpec)) and not used & others


def measured(check):
    return check.measure(lambda total, label: contextlib.nullcontext(lambda steps: None))


def test_every_threshold_weight_and_rate_is_a_setting(monkeypatch):
    was = measured(Settings())
    assert was["mask2former_r50_ade20k, inference.overlap_threshold"] == [0.8]
    assert was["mask2former_r50_ade20k, loss.dice_weight"] == [5.0]
    assert was["panoptic_segformer_r50_coco, train.lr"] == [1.4e-4]
    assert was["panoptic_segformer_r50_coco, heuristic.stuff_area"] == [4096.0]
    preset, change = models.preset, {"loss.dice_weight": 0.2}
    monkeypatch.setattr(models, "preset", lambda name: preset(name).override(change if "pft" in name else {}))
    assert moved(Settings(), was, measured(Settings())) == ["pft_r50_ade20k, loss.dice_weight"]


def test_the_spread_of_seeds_is_students():
    # Two groups of two: pooled variance (0.5 + 2) / 2, two degrees of freedom; t(0.9995, 2) = 31.599.
    assert spread([[1, 2], [1, 3]], 2, 2) == pytest.approx(31.599 * math.sqrt(1.25), rel=1e-4)


def test_a_mini_score_may_move_within_its_spread():
    was = {"row 1": [50.0, 51.0], "row 4": [52.0, 53.0]}
    allowed = spread([[0, 1]] * 4, 2, 2)
    for shift, expected in ((0.9, []), (1.1, ["row 1"])):
        now = {"row 1": [50 + shift * allowed, 51 + shift * allowed], "row 4": [52.0, 53.0]}
        assert moved(Mini(), was, now) == expected


def test_a_baseline_of_another_machine_is_used_with_a_word(tmp_path):
    kept = Baseline()
    kept.update("systems", Systems(), "linux-a", {"x, losses": [1.0]})
    kept.update("counts", Counts(), "linux-a", {"c": [2.0]})
    kept.write("first", ["systems", "counts"], "linux-a", tmp_path / "regress.json")
    found = Baseline.read(tmp_path / "regress.json")
    assert found.of("systems", Systems(), "linux-a") == ({"x, losses": [1.0]}, True)
    assert found.of("systems", Systems(), "macos-b") == ({"x, losses": [1.0]}, False)
    assert found.of("counts", Counts(), "macos-b") == ({"c": [2.0]}, True)
    assert found.of("mini", Mini(), "linux-a") is None
    assert found.history[0]["because"] == "first" and found.history[0]["platform"] == "linux-a"


def test_a_baseline_that_is_none_is_refused(tmp_path):
    path = tmp_path / "regress.json"
    with pytest.raises(UserError, match="no baseline at .*--update --because"):
        Baseline.read(path)
    for text, says in (("{", "not valid JSON"), ('{"schema": 2}', '"schema": 1')):
        path.write_text(text)
        with pytest.raises(UserError, match=says):
            Baseline.read(path)


def test_the_summary_shows_what_moved_only():
    change = Change("counts", "faseg 4, row 1, flops", "70.769", "71", "equal")
    text = summary({"Counts": [change], "Systems": []}, {"Counts": 3, "Systems": 2}, ["Counts: 1 s"])
    assert text.startswith("# Regression: 1 of 5 quantities moved\n")
    assert "| faseg 4, row 1, flops | 70.769 | 71 | equal |" in text
    assert "## Systems" not in text and "--update --because" in text
    assert summary({"Counts": []}, {"Counts": 3}).startswith("# Regression: nothing moved\n")


class Fixed:
    """A check whose numbers a test sets."""

    title, by_platform, numbers = "Fixed", False, {"a": [1.0]}

    def measure(self, progress):
        with progress(1, "fixed") as advance:
            advance(1)
        return self.numbers

    def compare(self, was, now, same_platform):
        return Counts().compare(was, now, same_platform)


def test_the_command_tells_what_moved(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(regress.CHECKS, "counts", fixed := Fixed())
    monkeypatch.setattr(baseline_file, "BASELINE", tmp_path / "regress.json")
    monkeypatch.setattr("bench.regress.baseline.Baseline.write", _write_to(tmp_path / "regress.json"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    assert main(["regress", "--only", "counts", "--update", "--because", "the first"]) == 0
    assert main(["regress", "--only", "counts"]) == 0
    fixed.numbers = {"a": [2.0]}
    capsys.readouterr()
    assert main(["regress", "--only", "counts"]) == 1
    assert "| a | 1 | 2 | equal |" in capsys.readouterr().out
    assert (tmp_path / "page.md").read_text().count("# Regression") == 2
    assert json.loads((tmp_path / "regress.json").read_text())["history"][0]["because"] == "the first"


def _write_to(path):
    write = Baseline.write
    return lambda self, because, checks, platform: write(self, because, checks, platform, path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--update"], "go together"),
        (["--because", "x"], "go together"),
        (["--only", "count"], "no check 'count'"),
        (["--only", ","], "--only names no check"),
    ],
)
def test_bad_options_are_one_line(words, says, capsys):
    assert main(["regress", *words]) == 2
    assert says in capsys.readouterr().err


def test_every_system_has_a_preset_for_each_of_its_tasks():
    found = {(job.preset.split("_r50")[0], job.task) for job in first_presets()}
    assert {name for name, _ in found} == {
        "mask2former", "faseg", "maskformer", "pft", "panoptic_segformer", "detr", "deformable_detr",
    }  # fmt: skip
    assert {task for name, task in found if name == "mask2former"} == {"semantic", "panoptic", "instance"}


def test_given_predictions_replace_all_that_is_predicted():
    made = BoxOutput(
        class_logits=torch.zeros(1, 4, 3), mask_logits=torch.zeros(1, 4, 24, 24), boxes=torch.zeros(1, 4, 4),
        class_ids=torch.arange(2),
    )  # fmt: skip
    first, again = (given(made, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first.mask_logits, again.mask_logits) and torch.equal(first.class_ids, torch.arange(2))
    assert first.class_logits.abs().max() > 2 and 0.2 <= first.boxes.min() <= first.boxes.max() <= 0.8
    assert (first.mask_logits[..., 1:] - first.mask_logits[..., :-1]).abs().max() < 4  # smooth

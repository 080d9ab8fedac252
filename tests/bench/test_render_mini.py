"""The mini replication in a report: differences with their spread, and only what they allow to say."""

import dataclasses
import json
import math

import pytest
from scipy import stats

from bench import plots
from bench.render import json_text
from bench.render_mini import mini_data, mini_rows, mini_section
from bench.spread import welch


def section(record, mini) -> str:
    return "\n".join(mini_section(record, mini, "Mini replication", "plot.png"))


def test_rows_are_compared_with_the_reference(record, mini):
    rows = mini_rows(record, mini)
    assert rows[0].over is None and rows[0].published == {}
    assert rows[1].over == welch([21.0, 24.0, 21.0], [20.0, 22.0, 21.0])
    assert (rows[1].paired.mean, rows[1].paired.deviation, rows[1].pairs) == (1.0, 1.0, (1.0, 2.0, 0.0))
    assert rows[2].over.mean == pytest.approx(2.0333333)
    assert rows[1].published == {"ade20k_miou": 0.5, "cityscapes_miou": pytest.approx(0.6)}
    assert [row.label for row in rows] == ["Mask2Former", "+ DFPQ", "+ HRCA", "+ DFPQ + HRCA"]


def test_the_section_shows_scores_floors_and_differences(record, mini):
    lines = section(record, mini).splitlines()
    assert "| Mask2Former | 21.00 ± 1.00 | 2.0 | 7.2 | – | – | – | – | – | – |" in lines
    line = next(line for line in lines if line.startswith("| + DFPQ |"))
    half = stats.t.ppf(0.975, 3.2) * math.sqrt(4 / 3)  # variances of 3 and 1
    intervals = f"{1 - half:+.2f} to {1 + half:+.2f} | -1.48 to +3.48"
    row = f"| + DFPQ | 22.00 ± 1.73 | 2.0 | 7.2 | +1.00 | {intervals} | +0.5 | +0.6 | cannot be told |"
    assert line == row
    assert lines[-1] == "![Differences to Mask2Former with their 95 % intervals](plot.png)"
    text = section(record, mini)
    assert "the same 3 seeds (budget `small`): steps 150, batch 4, image size 192x192." in text
    assert "133 s" in text and "Backbone" not in text


def test_only_differences_that_stand_out_are_said_to(record, mini):
    mini["rows"][2]["scores"] = [25.0, 26.0, 27.0]
    text = section(record, mini)
    assert (
        "- + DFPQ: no difference can be told from seed noise at this budget (the interval holds 0)." in text
    )
    assert "- + HRCA: the difference (+5.00) can be told from seed noise at this budget." in text
    assert "| holds |" in text
    assert "published one (+0.5) would take about 127 seeds at this budget (standard deviation 2.00;" in text


def test_a_published_order_may_be_reversed(record, mini):
    mini["rows"][2]["scores"] = [15.0, 16.0, 17.0]
    assert mini_rows(record, mini)[2].verdicts == {
        "ade20k_miou": "does not hold", "cityscapes_miou": "does not hold"
    }  # fmt: skip
    assert "| does not hold |" in section(record, mini)


def test_where_printed_differences_name_several_rows(record, mini):
    numbers = zip(record.rows, (None, 1, 2, 1), strict=True)
    rows = tuple(dataclasses.replace(row, delta_from=number) for row, number in numbers)
    other = dataclasses.replace(record, rows=rows)
    text = section(other, mini)
    assert "| minus its reference |" in text and "| +1.03 to + DFPQ |" in text
    assert plots.mini_drawing(other, mini_rows(other, mini)).draw() is not None


def test_rows_that_are_one_model_are_said_to_be(record, mini):
    mini["rows"][3] |= {"same_as": 3, "scores": mini["rows"][2]["scores"]}
    assert "- + DFPQ + HRCA: the same model as + HRCA at this size." in section(record, mini)


def test_the_section_says_what_it_was_made_of(record, mini):
    mini |= {
        "dataset": "camvid", "data_checksum": "aa/bb", "cpu_seconds": 100.4, "device": "a cpu",
        "operators": "compiled", "code": "c0de",
        "backbone": {"text": "EfficientNet-Lite0", "weights": "w.pth", "sha256": "0" * 64},
    }  # fmt: skip
    text = section(record, mini)
    assert "trained on `camvid`" in text and "took 133 s (100 s of CPU time) on a cpu." in text
    assert f"Backbone of every row: EfficientNet-Lite0 (`w.pth`, SHA-256 `{'0' * 16}…`)." in text
    assert "sources: `c0de`; data: `aa/bb`." in text
    mini["backbone"] = {"text": "a small ResNet from random weights", "weights": None, "sha256": None}
    assert "Backbone of every row: a small ResNet from random weights. " in section(record, mini)


def test_every_row_must_beat_the_untrained_and_the_majority_score(record, mini):
    said = "above what it scores untrained and above the majority class"
    assert f"{said}: yes, with every seed." in section(record, mini)
    mini["rows"][2]["scores"][1] = 7.0
    assert f"{said}: no, only 3 of 4." in section(record, mini)
    mini["rows"][1]["untrained"][2] = 21.0  # as good as the worst seed after training
    assert f"{said}: no, only 2 of 4." in section(record, mini)


def test_one_seed_says_nothing_about_differences(record, mini):
    for row in mini["rows"]:
        row["scores"], row["untrained"] = row["scores"][:1], row["untrained"][:1]
    text = section(record, mini)
    assert "the same 1 seed " in text
    assert "| + DFPQ | 21.00 | 2.0 | 7.2 | +1.00 | – | – | +0.5 | +0.6 | cannot be told |" in text
    assert text.count("one seed, so no difference can be told from seed noise") == 3
    assert "±" not in text.partition("|  |")[2].partition("\n")[2]


def test_the_json_has_the_differences(record, mini):
    data = json.loads(json_text(mini_data(record, mini)))
    assert data["rows"] == mini["rows"]
    assert [(entry["row"], entry["over_row"]) for entry in data["differences"]] == [(2, 1), (3, 1), (4, 1)]
    assert data["differences"][0]["mean"] == 1.0
    assert data["differences"][0]["paired"]["low"] == pytest.approx(-1.4841, abs=1e-4)
    assert data["differences"][0]["low"] == pytest.approx(-2.5482, abs=1e-4)


def test_a_row_without_a_printed_score_has_no_published_difference(record, mini):
    """A dash in one column of one row, here of the last, leaves the others as they are."""
    cells = {**record.rows[3].cells}
    cells["ade20k_miou"] = dataclasses.replace(cells["ade20k_miou"], text="-", printed=None)
    last = dataclasses.replace(record.rows[3], cells=cells)
    other = dataclasses.replace(record, rows=(*record.rows[:3], last))
    lines = section(other, mini).splitlines()
    assert [line.split(" | ")[-3:-1] for line in lines if line.startswith("| + ")] == [
        ["+0.5", "+0.6"], ["+0.4", "+0.4"], ["–", "+1.1"]
    ]  # fmt: skip
    assert plots.mini_drawing(other, mini_rows(other, mini)).draw() is not None

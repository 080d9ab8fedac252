"""Frames a second: timing in turns, ratios, and the committed measurement."""

import json
import math
from decimal import Decimal

import pytest
import torch

import tables
from bench import speed
from bench.cells import fill
from bench.records import Store
from bench.speed import timing
from bench.speed.saved import Measurement
from tables import RecordError

RECORD = tables.load("panoptic_segformer", "10")
PRINTED = [10.6, 9.8, 9.3, 7.8]


def measured(*seconds):
    return tuple(timing.Timed(row, "fps", (s, s, 9 * s)) for row, s in enumerate(seconds, 1))


def measurement(*seconds):
    return Measurement(
        device="CPU", torch="2.11", operators="compiled", date="2026-01-02T03:04", timed=measured(*seconds)
    )


def test_equal_ratios_give_the_printed_numbers():
    found = speed.speeds(RECORD, measured(*(10 / fps for fps in PRINTED)))
    assert [float(found[row, "fps"].scaled) for row in (1, 2, 3, 4)] == pytest.approx(PRINTED, rel=1e-5)
    assert float(found[1, "fps"].raw) == pytest.approx(1.06)
    assert found[1, "fps"].factor == pytest.approx(10)


def test_the_factor_is_the_geometric_mean_of_the_ratios():
    found = speed.speeds(RECORD, measured(0.1, 0.2))
    factor = math.sqrt(10.6 / 10 * 9.8 / 5)
    assert found[1, "fps"].factor == pytest.approx(factor)
    assert float(found[2, "fps"].scaled) == pytest.approx(5 * factor, rel=1e-5)


def test_one_row_alone_has_no_ratio():
    assert speed.speeds(RECORD, measured(0.1)) == {}


def test_cells_show_the_measurement_whatever_is_asked_for(tmp_path):
    results = fill(RECORD, (), Store(tmp_path), measurement(*(10 / fps for fps in PRINTED)))
    shown = [result for result in results if result.column.metric == "fps"]
    assert [result.verdict for result in shown] == ["="] * 4
    assert shown[0].protocol == speed.RATIO and shown[0].also == {speed.RAW: Decimal("1.06")}
    assert "1.06 a second on CPU, torch 2.11, 3 rounds in turns, 2026-01-02; times 10" in shown[0].reason
    assert {result.verdict for result in results if result.column.metric != "fps"} == {"."}


def test_a_saved_measurement_comes_back(tmp_path):
    kept = measurement(0.1, 0.2, 0.3)
    assert speed.save(RECORD, kept, tmp_path) == tmp_path / "panoptic_segformer" / "table10_speed.json"
    assert speed.read(RECORD, tmp_path) == kept
    assert speed.read(tables.load("faseg", "4"), tmp_path) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"timed": []}, "no cell was timed"),
        ({"timed": [{"row": 9, "column": "fps", "seconds": [1]}]}, "9"),
        ({"timed": [{"row": 1, "column": "fps", "seconds": [0.0]}]}, "no positive seconds"),
        ({"more": 1}, "more"),
    ],
)
def test_a_damaged_measurement_is_refused(tmp_path, change, expected):
    path = speed.save(RECORD, measurement(0.1, 0.2), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RecordError, match=f"table10_speed.json.*{expected}"):
        speed.read(RECORD, tmp_path)


def test_rows_are_timed_in_turns(monkeypatch):
    order = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    places = {(1, "fps"): calls["a"], (2, "fps"): calls["b"]}
    monkeypatch.setattr(timing, "_calls", lambda record, device: places)
    timed = timing.time_table(RECORD, torch.device("cpu"), rounds=2)
    assert order == ["a", "b"] * 3  # once to warm up
    assert [(found.row, len(found.seconds)) for found in timed] == [(1, 2), (2, 2)]
    assert all(second >= 0 for found in timed for second in found.seconds)


def test_cells_of_one_model_share_it(monkeypatch):
    made = []
    monkeypatch.setattr(timing, "_call", lambda preset, spec, device: made.append(preset) or (lambda: None))
    calls = timing._calls(RECORD, torch.device("cpu"))
    assert sorted(calls) == [(1, "fps"), (2, "fps"), (3, "fps"), (4, "fps")] and len(made) == 4

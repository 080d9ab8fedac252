"""Which number fills which cell, and where it comes from."""

import dataclasses
import subprocess
import sys
from decimal import Decimal

import pytest

import bench
from bench import cells
from bench.errors import UserError
from bench.records import Store
from models import SpecError
from tables import RecordError, load_file


def test_every_printed_number_is_a_cell_in_printed_order(record, results):
    places = [(result.row.number, result.column.id) for result in results]
    columns = ["ade20k_miou", "cityscapes_miou", "params", "flops"]
    assert places == [(row, column) for row in (1, 2, 3, 4) for column in columns]
    assert "".join(result.verdict for result in results) == "..==" * 3 + "..=~"


def test_only_the_evidence_asked_for_is_obtained(record, fake_counts):
    results = cells.fill(record, ("mini",), store=None)
    assert fake_counts == []
    assert {result.verdict for result in results} == {"."}
    assert {result.measured for result in results} == {None}


def test_progress_counts_what_is_really_done(record, fake_counts):
    shown = []
    cells.fill(record, ("counted",), None, progress=lambda found: shown.append(len(found)) or found)
    assert shown == [8]
    assert len(fake_counts) == 8


def test_cells_that_are_not_run_say_which_command_would_run_them(results):
    accuracy = [result for result in results if result.evidence == "trained"]
    assert [result.command for result in accuracy] == [
        f"python -m bench train --table faseg/4 --row {row} --dataset {dataset} --root DIR"
        " --backbone-weights FILE"
        for row in (1, 2, 3, 4)
        for dataset in ("ade20k", "cityscapes")
    ]
    assert all(result.reason == f"not run: {result.command}" for result in accuracy)


def test_counted_cells_name_the_command_with_the_overrides_of_the_row(results):
    commands = [result.command for result in results if result.column.id == "flops"]
    assert commands[0] == "python -m bench measure mask2former_r50_ade20k --size 512x512"
    assert commands[1].endswith("--set pixel_decoder.positions=conditional --set decoder.queries=dfpq")
    assert "--set 'decoder.schedule=[32,16,8,4,32,16,8,4,32,16,8,4,32]'" in commands[2]
    assert commands[3] == "python -m bench measure faseg_r50_ade20k --size 512x512 --variant released"


def test_numbers_keep_their_unit_and_are_not_rounded(results):
    last = results[-1]
    assert (last.measured, last.delta) == (Decimal("73.41"), Decimal("1.41"))
    assert last.also == {"flops/exact-v1": Decimal("74.325")}
    assert results[2].measured == Decimal("43.988247")
    assert "1.095 G" in last.reason
    assert results[3].reason is None


def test_counts_are_stored_and_not_done_again(tmp_path, record, monkeypatch):
    calls = []

    def count(spec, column, protocol):
        calls.append(protocol)
        return {"value": 44_000_000 if column.metric == "params" else 71_000_000_000}

    monkeypatch.setattr(cells, "_COUNTERS", {"params": count, "flops": count})
    first = cells.fill(record, ("counted",), Store(tmp_path))
    assert len(calls) == 12  # four rows: parameters and two protocols of FLOPs
    again = cells.fill(record, ("counted",), Store(tmp_path))
    assert len(calls) == 12
    assert [r.measured for r in again] == [r.measured for r in first]
    assert first[2].measured == 44 and first[3].measured == 71


def test_a_change_of_code_counts_anew(tmp_path, record, monkeypatch):
    calls = []
    monkeypatch.setattr(cells, "_COUNTERS", {"params": lambda *_: calls.append(1) or {"value": 1}})
    row, column = record.row(1), record.column("params")
    for version in ("a", "a", "b"):
        monkeypatch.setattr(cells, "code_version", lambda *_, version=version: version)
        cells._counted(row, column, Store(tmp_path))
    assert len(calls) == 2


def test_a_count_is_kept_by_model_protocol_and_size(tmp_path, record, monkeypatch):
    """What two rows or two sizes have in common is not taken for the other's."""
    calls = []

    def count(spec, column, protocol):
        calls.append((spec.num_classes, len(spec.decoder.schedule), column.size, protocol))
        return {"value": 1}

    monkeypatch.setattr(cells, "_COUNTERS", {"flops": count})
    column = record.column("flops")
    wide = dataclasses.replace(column, size=(640, 640))
    for row, found in ((1, column), (3, column), (1, wide), (1, column)):
        cells._counted(record.row(row), found, Store(tmp_path))
    assert calls == [
        (150, blocks, size, protocol)
        for blocks, size in ((9, (512, 512)), (13, (512, 512)), (9, (640, 640)))
        for protocol in ("flops/fvcore-v1", "flops/exact-v1")
    ]


def test_operators_without_a_formula_are_kept_with_the_count(tmp_path, record, monkeypatch):
    count = {"value": 1, "uncounted": {"aten::fft": 2}}
    monkeypatch.setattr(cells, "_COUNTERS", {"flops": lambda *_: count, "params": lambda *_: {"value": 1}})
    for _ in range(2):  # counted, then from the store
        results = cells.fill(record, ("counted",), Store(tmp_path))
        found = [r.uncounted for r in results if r.evidence == "counted"]
        assert found == [{}, {"aten::fft": 2}] * 4


def test_trainable_parameters_are_a_protocol_of_their_own(tmp_path, record, monkeypatch):
    from torch import nn

    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1).requires_grad_(False))
    monkeypatch.setattr(type(cells.row_spec(record.row(1), "ade20k")), "build", lambda self, device: model)
    column = record.column("params")
    trainable = dataclasses.replace(column, protocol="params/trainable-v1")
    found = [cells._counted(record.row(1), c, Store(tmp_path)).numbers for c in (column, trainable)]
    assert found == [
        {"params/all-v1": Decimal(13) / 10**6}, {"params/trainable-v1": Decimal(9) / 10**6}
    ]  # fmt: skip


def test_a_column_that_cannot_be_counted_is_named(tmp_path, record):
    def count(name, **changes):
        column = dataclasses.replace(record.column(name), **changes)
        return cells._counted(record.row(1), column, Store(tmp_path))

    with pytest.raises(UserError, match="'params': no protocol 'params/al-v1'; nearest: params/all-v1"):
        count("params", protocol="params/al-v1")
    with pytest.raises(SpecError, match="no FLOP protocol 'flops/exact-v2'"):
        count("flops", also="flops/exact-v2")
    with pytest.raises(UserError, match="'flops': flops/fvcore-v1 needs the size of an image"):
        count("flops", size=None)


def test_the_variant_of_a_row_is_built_and_in_its_command(record):
    row = dataclasses.replace(record.row(4), variant="paper")
    assert cells.row_spec(row, "ade20k").decoder.queries.initial == "foreground"
    assert cells.row_spec(record.row(4), "ade20k").decoder.queries.initial == "background"
    command = cells._measure_command(row, record.column("params"))
    assert command == "python -m bench measure faseg_r50_ade20k --variant paper"


def test_all_code_that_a_count_depends_on_is_in_its_key():
    """Every module of this repository that counting imports, but the names of packages and of errors."""
    program = """
import sys, pathlib
import bench.protocol.flops, bench.protocol.params
files = {getattr(module, "__file__", None) for module in list(sys.modules.values())} - {None}
root = pathlib.Path(bench.__file__).parent.parent
print(*(pathlib.Path(f).relative_to(root).as_posix() for f in files if pathlib.Path(f).is_relative_to(root)))
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=bench_root(), capture_output=True, text=True)
    floors = ("ops/", "models/", "tables/", "bench/")  # an environment may lie in the repository's folder too
    files = {file for file in found.stdout.split() if file.startswith(floors)}
    decoder = "models/decoders/round_robin.py"
    assert {"bench/protocol/rules.py", decoder, "ops/deformable.py"} <= files, found.stderr
    assert {f for f in files if not f.startswith(tuple(f"{part}/" for part in cells.COUNTED_CODE))} == {
        "bench/__init__.py"
    }


def test_the_real_counts_of_faseg_table_4():
    """Rows 1 and 4 are what the released code counts, traced with fvcore, the operator uncounted; rows 2 and
    3 are row 1 and what their parts add, worked out by hand."""
    frame = bench.table_frame("faseg", "4")
    assert frame.shape[0] == 16
    assert list(frame.columns[:2]) == ["row", "row_label"]
    params = frame[frame.metric == "params"].set_index("row")
    flops = frame[frame.metric == "flops"].set_index("row")
    assert params.measured[1] == 43.988247
    assert params.measured[4] == 50.511639
    assert flops.measured[1] == pytest.approx(70.769, abs=1e-3)
    assert flops.measured[4] == pytest.approx(73.410, abs=1e-3)
    assert "".join(params.verdict) == "===="
    # h after the start and eight blocks, and the depth-wise convolutions at strides 32, 16 and 8
    dfpq = 9 * 2 * 100 * 256**2 + 9 * 256 * (16**2 + 32**2 + 64**2)
    # self-attention, feed-forward network, two norms
    rest = 4 * 100 * 256**2 + 2 * 100**2 * 256 + 2 * 100 * 256 * 2048 + 2 * 5 * 100 * 256
    masked, high = (_cross_attention(keys) + rest for keys in (256, 512))  # at stride 32; 8 cells of 64
    head = 5 * 100 * 256 + 3 * 100 * 256**2 + 419_450_000 + 4 * 100 * 256  # norm, MLP, einsum, resize
    exactly = {name: round(flops.measured[name] * 1e9) for name in (1, 2, 3)}
    assert exactly[2] - exactly[1] == dfpq
    assert exactly[3] - exactly[1] == masked + 3 * high + head
    assert params.measured[2] == 44.127511 and params.measured[3] == 50.303511
    assert list(flops.verdict) == ["=", "=", "=", "~"]
    assert list(frame[frame.metric == "miou"].verdict) == ["."] * 8


def _cross_attention(keys):
    """Multiply-adds of 100 queries against `keys`: projections, both products, norm."""
    return 2 * 100 * 256**2 + 2 * keys * 256**2 + 2 * 100 * keys * 256 + 5 * 100 * 256


def test_a_preset_or_override_that_does_not_exist_names_the_line(tmp_path):
    source = (cells.load_table("faseg", "4").file, "faseg_r50_ade20k", '"decoder.queries" = "dfpq"')
    text = (bench_root() / source[0]).read_text()
    for old, new, says in (
        (source[1], "faseg_r50_ade", "nearest: faseg_r50_ade20k"),
        (source[2], '"decoder.querys" = "dfpq"', "decoder.queries"),
        (source[2], '"decoder.queries" = "dfqp"', "dfpq"),
    ):
        file = tmp_path / "table4.toml"
        file.write_text(text.replace(old, new))
        with pytest.raises(RecordError, match=rf"table4\.toml:\d+: row\[\d\]\.preset\.ade20k: .*{says}"):
            load_file(file, cells._spec)


def bench_root():
    from bench import records

    return records._ROOT


def test_the_number_of_a_table_may_be_a_number(fake_counts):
    assert bench.table_frame("faseg", 4).equals(bench.table_frame("faseg", "4"))

"""Counts: by which protocol, on which images, kept in the store and done once for all tables."""

import dataclasses
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from bench import cells, counting
from bench.errors import UserError
from bench.records import Store
from models import SpecError

ROOT = Path(counting.__file__).resolve().parent.parent


def count_cell(row, column, store):
    return counting.counted(None, row, column, row.cells[column.id], store)


def cell_for(row, column):
    """The row's cell, with the protocol of a changed column."""
    return dataclasses.replace(row.cells[column.id], protocol=column.protocol)


@pytest.fixture
def calls(monkeypatch):
    """Counting takes no time; gives what was counted: the model and the number asked for."""
    made = []

    def count_one(spec, count):
        made.append((spec, count))
        return {"value": 44_000_000 if count.how is None else 71_000_000_000, "uncounted": {"aten::fft": 2}}

    monkeypatch.setattr(counting, "count_one", count_one)
    return made


def test_counts_are_stored_and_not_done_again(tmp_path, record, calls):
    first = cells.fill(record, ("counted",), Store(tmp_path))
    assert len(calls) == 12  # four rows: parameters and two protocols of FLOPs
    again = cells.fill(record, ("counted",), Store(tmp_path))
    assert len(calls) == 12
    assert [r.measured for r in again] == [r.measured for r in first]
    assert first[2].measured == 44 and first[3].measured == 71
    assert {str(r.uncounted) for r in first if r.evidence == "counted"} == {"{'aten::fft': 2}"}


def test_what_is_missing_is_counted_once_for_all_tables(tmp_path, record, calls):
    """A job is a model; the bar gets on by the images that it is called with."""
    store, advanced = Store(tmp_path), []
    jobs = counting.missing([record, record], store)
    assert [(job.label, len(job.counts), job.images) for job in jobs] == [
        (f"faseg table 4, row {row}", 3, 1) for row in (1, 2, 3, 4)
    ]
    counting.prepare(jobs, store, advanced.append)
    assert advanced == [1, 1, 1, 1] and len(calls) == 12
    assert counting.missing([record], store) == []
    cells.fill(record, ("counted",), store)
    assert len(calls) == 12


def test_many_images_are_divided_among_processes(tmp_path, record, monkeypatch):
    monkeypatch.setattr(counting, "_MANY", 1)
    record = dataclasses.replace(record, columns=(record.column("params"),))
    store, advanced = Store(tmp_path), []
    job = counting.missing([record], store)[0]
    counting.prepare([job], store, advanced.append)
    assert advanced == [1]
    assert [store.get(count.key)["value"] for count in job.counts] == [43_988_247]


def test_a_job_has_as_many_images_as_its_counts_need(record):
    row, column = by_system(record, "flops", "mask2former_r50_coco_panoptic")
    spec, counts = counting._wanted(record, row, column, cell_for(row, column), Store("nowhere"))
    assert counting.Job(label="", spec=spec, counts=tuple(counts)).images == 46  # of 100: sizes that differ


def test_a_change_of_code_counts_anew(tmp_path, record, monkeypatch, calls):
    row, column = record.row(1), record.column("params")
    for version in ("a", "a", "b"):
        monkeypatch.setattr(counting, "code_version", lambda *_, version=version: version)
        count_cell(row, column, Store(tmp_path))
    assert len(calls) == 2


def test_a_count_is_kept_by_model_protocol_and_size(tmp_path, record, calls):
    """What two rows or two sizes have in common is not taken for the other's."""
    column = record.column("flops")
    wide = dataclasses.replace(column, size=(640, 640))
    for row, found in ((1, column), (3, column), (1, wide), (1, column)):
        count_cell(record.row(row), found, Store(tmp_path))
    assert [
        (spec.num_classes, len(spec.decoder.schedule), *count.how.pictures, count.protocol)
        for spec, count in calls
    ] == [
        (150, blocks, (size, size), protocol)
        for blocks, size in ((9, (512, 512)), (13, (512, 512)), (9, (640, 640)))
        for protocol in ("flops/fvcore-v1", "flops/exact-v1")
    ]


def test_trainable_parameters_are_a_protocol_of_their_own(tmp_path, record, monkeypatch):
    from torch import nn

    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1).requires_grad_(False))
    row = record.row(1)
    monkeypatch.setattr(type(cells.row_spec(row, "ade20k")), "build", lambda self, device: model)
    column = record.column("params")
    trainable = dataclasses.replace(column, protocol="params/trainable-v1")
    store = Store(tmp_path)
    both = (column, trainable)
    found = [counting.counted(record, row, c, cell_for(row, c), store).numbers for c in both]
    assert found == [
        {"params/all-v1": Decimal(13) / 10**6}, {"params/trainable-v1": Decimal(9) / 10**6}
    ]  # fmt: skip


def test_a_column_that_cannot_be_counted_is_named(tmp_path, record):
    def count(name, **changes):
        column = dataclasses.replace(record.column(name), **changes)
        row = record.row(1)
        return counting.counted(record, row, column, cell_for(row, column), Store(tmp_path))

    with pytest.raises(UserError, match="'params': no protocol 'params/al-v1'; nearest: params/all-v1"):
        count("params", protocol="params/al-v1")
    with pytest.raises(SpecError, match="no FLOP protocol 'flops/exact-v2'"):
        count("flops", also="flops/exact-v2")
    row = dataclasses.replace(record.row(1), preset={"ade20k": "pft_r50_pascal_context"})
    column = dataclasses.replace(record.column("flops"), size=None)
    with pytest.raises(UserError, match="'flops': flops/fvcore-v1 needs the size of an image for pft_r50_pa"):
        count_cell(row, column, Store(tmp_path))


BY_SYSTEM = {"params": "params/by-system-v1", "flops": "flops/by-system-v1"}


def by_system(record, column, preset):
    """A row of a preset, and a column whose protocol is that of the row's system."""
    row = dataclasses.replace(record.row(1), preset={"coco": preset}, overrides={}, variant=None)
    changes = {"dataset": "coco", "size": None, "protocol": BY_SYSTEM[column], "also": None}
    return row, dataclasses.replace(record.column(column), **changes)


@pytest.mark.parametrize(
    ("preset", "params", "flops", "end", "images"),
    [
        ("panoptic_segformer_r50_coco", "params/trainable-v1", "flops/mmcv-v1", "located_and_masked", 1),
        ("detr_r50_coco_panoptic", "params/all-v1", "flops/fvcore-v1", "everything", 100),
        (
            "maskformer_r50_coco_panoptic",
            "params/all-v1",
            "flops/fvcore-v1",
            "masks_and_scores_of_stack",
            100,
        ),
        ("mask2former_r50_coco_instance", "params/all-v1", "flops/fvcore-v1", "masks", 100),
    ],
)
def test_a_column_can_hold_systems_that_count_differently(record, preset, params, flops, end, images):
    assert counting.protocol_of(*by_system(record, "params", preset)) == params
    cell = by_system(record, "flops", preset)
    assert counting.protocol_of(*cell) == flops
    how = counting.counting(*cell)
    assert (how.end, len(how.pictures)) == (end, images)
    assert cells.measure_command(*cell, cell_for(*cell)) == f"python -m bench measure {preset}"


def test_the_protocol_of_a_row_fills_its_cell(tmp_path, record):
    row, column = by_system(record, "params", "panoptic_segformer_r50_coco")
    found = cells._counted(record, row, column, cell_for(row, column), Store(tmp_path))
    assert found.numbers == {"params/trainable-v1": Decimal("50.996380")}
    result = cells._result(record, row, column, cell_for(row, column), found)
    assert (result.protocol, result.measured) == ("params/trainable-v1", Decimal("50.996380"))


def test_a_protocol_that_measure_does_not_show_by_itself_is_in_the_command(record):
    row, column = by_system(record, "flops", "panoptic_segformer_r50_coco")
    fixed = dataclasses.replace(column, protocol="flops/fvcore-v1", size=(800, 1216))
    command = "python -m bench measure panoptic_segformer_r50_coco --size 800x1216 --protocol flops/fvcore-v1"
    assert cells.measure_command(row, fixed, cell_for(row, fixed)) == command


def test_the_variant_of_a_row_is_built_and_in_its_command(record):
    row = dataclasses.replace(record.row(4), variant="paper")
    assert cells.row_spec(row, "ade20k").decoder.queries.initial == "foreground"
    assert cells.row_spec(record.row(4), "ade20k").decoder.queries.initial == "background"
    command = cells.measure_command(row, record.column("params"), row.cells["params"])
    assert command == "python -m bench measure faseg_r50_ade20k --variant paper"


def test_all_code_that_a_count_depends_on_is_in_its_key():
    """Every module of this repository that counting imports, but the names of packages and of errors."""
    program = """
import sys, pathlib
import bench.protocol.flops, bench.protocol.params, bench.protocol.systems
files = {getattr(module, "__file__", None) for module in list(sys.modules.values())} - {None}
root = pathlib.Path(bench.__file__).parent.parent
print(*(pathlib.Path(f).relative_to(root).as_posix() for f in files if pathlib.Path(f).is_relative_to(root)))
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    floors = ("ops/", "models/", "tables/", "bench/")  # an environment may lie in the repository's folder too
    files = {file for file in found.stdout.split() if file.startswith(floors)}
    decoder = "models/decoders/round_robin.py"
    assert {"bench/protocol/rules.py", decoder, "ops/deformable.py"} <= files, found.stderr
    others = {"bench/__init__.py", "bench/protocol/__init__.py"}
    assert {f for f in files if not f.startswith(counting.COUNTED_CODE)} <= others

"""Counted cells (parameters, FLOPs) and predicted ones (memory): what a model has without being run.

A number is kept in the result store and obtained once for all tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from bench.errors import UserError, nearest
from bench.records import Store, code_version
from tables import Cell, Column, Row, TableRecord
from tables.metrics import METRICS

if TYPE_CHECKING:
    from bench.protocol.memory import MemoryPrediction
    from bench.protocol.systems import Pictures
    from models.spec import Spec

# A column of one of these protocols holds systems of several papers; each row is counted as its own was.
BY_SYSTEM = ("params/by-system-v1", "flops/by-system-v1")

# What a count depends on; a change anywhere in these makes the stored counts stale.
_PARTS = "ends flops formulas free images modules params protocols rules shapes summary systems tape".split()
COUNTED_CODE = (
    "ops",
    "models",
    *(f"bench/protocol/{name}.py" for name in _PARTS),
    "bench/protocol/coco_val2017_first100.toml",
)

_PREDICTED_CODE = ("ops", "models", "bench/protocol", "bench/train", "bench/data")

_PARAMS = {"params/all-v1": "total", "params/trainable-v1": "trainable"}

# From how many images on the counts are divided among processes, which take some seconds to start.
_MANY = 60


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was counted for a cell: numbers in the column's unit by protocol, and what has no formula.

    `assumptions` are what a prediction depends on.
    """

    numbers: dict[str, Decimal] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How FLOPs of a cell are counted: where the count ends, and the images it is a mean over."""

    end: str
    pictures: Pictures


@dataclass(frozen=True, kw_only=True)
class Training:
    """The training step whose memory is predicted: of which paper, with how many images of what size."""

    paper: str
    batch: int
    crop: tuple[int, int]
    dataset: str


@dataclass(frozen=True, kw_only=True)
class Count:
    """One number to be counted, and its key in the store; `how` is None for parameters."""

    key: str
    protocol: str
    how: Counting | Training | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that is to be counted of one model."""

    label: str
    spec: Spec
    counts: tuple[Count, ...]

    @property
    def images(self) -> int:
        """The images that the model is called with; 1 where none is needed."""
        asked = [count.how.pictures for count in self.counts if isinstance(count.how, Counting)]
        return max(1, len(set().union(*asked)))


@lru_cache(maxsize=256)
def _preset(preset: str, variant: str | None) -> Spec:
    import models

    return models.preset(preset) if variant is None else models.preset(preset, variant)


def make_spec(preset: str, overrides: dict, variant: str | None) -> Spec:
    """The spec of a preset with changes. Raises SpecError."""
    from models.spec import override

    return override(_preset(preset, variant), overrides)


def row_spec(row: Row, key: str) -> Spec:
    """The spec of a row for a column of this preset key, which by default is its data set.

    Raises SpecError, and KeyError where the row has no preset for it.
    """
    return make_spec(row.preset[key], row.overrides, row.variant)


def cell_spec(row: Row, column: Column) -> Spec:
    """The spec of a row as a column has it: some columns change it further (a threshold, for instance).

    Raises as `row_spec` does.
    """
    return row_spec(row, column.preset_key).override(column.overrides)


def protocol_of(row: Row, column: Column, cell: Cell | None = None) -> str:
    """The protocol of a cell: its own or the column's, or where that is by system, that of the row's preset.

    Raises SpecError where nobody wrote down how the preset is counted.
    """
    protocol = column.protocol if cell is None else cell.protocol
    if protocol not in BY_SYSTEM or column.preset_key not in row.preset:
        return protocol
    from bench.protocol import systems

    preset = row.preset[column.preset_key]
    is_params = protocol.startswith("params/")
    return systems.params_protocol(preset) if is_params else systems.setting(preset).protocol


def counting(row: Row, column: Column) -> Counting:
    """How the FLOPs of a cell are counted: on the column's size, or the size or images of the preset's paper.

    Raises SpecError as `protocol_of` does, and UserError where there is no size.
    """
    from bench.protocol import systems
    from bench.protocol.images import fixed

    preset = row.preset[column.preset_key]
    setting = systems.setting(preset)
    pictures = fixed(*column.size) if column.size else setting.pictures
    if pictures is None:
        raise UserError(
            f"column {column.id!r}: {protocol_of(row, column)} needs the size of an image for {preset}"
        )
    return Counting(end=setting.end, pictures=pictures)


def is_counted(row: Row, column: Column, evidence: Collection[str] = ("counted",)) -> bool:
    """Whether a cell is counted or predicted at all: its metric is, and the row has a model for it."""
    kind = METRICS[column.metric].evidence
    return kind in evidence and kind in ("counted", "predicted") and column.preset_key in row.preset


def counted(record: TableRecord, row: Row, column: Column, cell: Cell, store: Store) -> Counts:
    """The counts of a cell, or its prediction, from the store where it has them."""
    scale = Decimal(METRICS[column.metric].units[column.unit])
    numbers, uncounted, assumptions = {}, {}, ()
    spec, wanted = _wanted(record, row, column, cell, store)
    for count in wanted:
        found = store.get(count.key)
        if found is None:
            found = count_one(spec, count)
            store.put(count.key, found)
        numbers[count.protocol] = Decimal(found["value"]) / scale
        uncounted |= found.get("uncounted", {})
        assumptions = tuple(found.get("assumptions", assumptions))
    return Counts(numbers=numbers, uncounted=uncounted, assumptions=assumptions)


def _wanted(
    record: TableRecord, row: Row, column: Column, cell: Cell, store: Store
) -> tuple[Spec, list[Count]]:
    """The model of a cell, and its numbers: by the paper's protocol first, then by the second one."""
    from models.spec import to_dict

    spec, main = row_spec(row, column.preset_key), protocol_of(row, column, cell)
    how, code, asked = None, code_version(*COUNTED_CODE), {}
    if column.metric == "flops":
        how = counting(row, column)
        asked = {"end": how.end, "pictures": how.pictures}
    if column.metric == "memory":
        how, code = training(record, column), code_version(*_PREDICTED_CODE)
        asked = {"paper": how.paper, "batch": how.batch, "crop": how.crop, "data": how.dataset}
    described, found = to_dict(spec), []
    for protocol in dict.fromkeys(filter(None, (main, column.also))):
        if how is None and protocol not in _PARAMS:
            raise UserError(f"column {column.id!r}: no protocol {protocol!r}{nearest(protocol, _PARAMS)}")
        key = store.key(spec=described, protocol=protocol, code=code, **asked)
        found.append(Count(key=key, protocol=protocol, how=how))
    return spec, found


def training(record: TableRecord, column: Column) -> Training:
    """The training step of a column of memory. Raises UserError where it does not say batch or size."""
    if column.batch is None or column.size is None:
        raise UserError(f"column {column.id!r}: memory needs a batch and a size")
    return Training(paper=record.paper, batch=column.batch, crop=column.size, dataset=column.preset_key)


def count_one(spec: Spec, count: Count) -> dict:
    """Counts; gives the record for the store. Raises SpecError for an unknown protocol."""
    if count.how is None:
        from bench.protocol import params

        found = params.count(spec)
        return {"value": int(getattr(found, _PARAMS[count.protocol])), "by_part": dict(found.by_part)}
    if isinstance(count.how, Training):
        return _predict(spec, count)
    from bench.protocol import flops

    found = flops.average(spec, count.how.pictures, count.protocol, count.how.end)
    return {
        "value": int(found.total),
        "deviation": found.deviation,
        "images": found.images,
        "by_part": dict(found.by_part),
        "by_operator": dict(found.by_operator),
        "uncounted": dict(found.uncounted),
    }


def _predict(spec: Spec, count: Count) -> dict:
    found = _prediction(spec, count.how)
    if count.protocol not in found.by_protocol:
        raise UserError(f"no protocol {count.protocol!r}{nearest(count.protocol, found.by_protocol)}")
    return {
        "value": int(found.by_protocol[count.protocol]),
        "phases": dict(found.phases),
        "assumptions": found.assumptions(),
    }


@lru_cache(maxsize=1)
def _prediction(spec: Spec, step: Training) -> MemoryPrediction:
    """Kept, because both protocols of a cell follow from one step."""
    from bench.protocol import memory

    return memory.predict_cell(step.paper, spec, step.batch, step.crop, step.dataset)


def missing(
    records: Iterable[TableRecord], store: Store, evidence: Collection[str] = ("counted",)
) -> list[Job]:
    """What the tables need and the store lacks, a job for each model, the longest first."""
    from models.spec import to_dict

    found: dict[str, tuple[str, Spec, dict[str, Count]]] = {}
    for record in records:
        for row, column, cell in record.cells:
            if not is_counted(row, column, evidence):
                continue
            spec, wanted = _wanted(record, row, column, cell, store)
            lacking = {count.key: count for count in wanted if store.get(count.key) is None}
            if lacking:
                name = json.dumps(to_dict(spec), sort_keys=True)
                label = f"{record.paper} table {record.table}, row {row.number}"
                found.setdefault(name, (label, spec, {}))[2].update(lacking)
    jobs = [Job(label=label, spec=spec, counts=tuple(new.values())) for label, spec, new in found.values()]
    return sorted(jobs, key=lambda job: -job.images)


def prepare(
    jobs: list[Job], store: Store, advance: Callable[[int], None], workers: int | None = None
) -> None:
    """Counts `jobs` into the store; calls `advance` with the images that were done.

    Many images are divided among processes, by default one a core; a few are counted here.
    """
    from bench.pool import run_jobs

    if workers == 1 or sum(job.images for job in jobs) < _MANY:
        done = ((job, perform(job, lambda _: None)) for job in jobs)
    else:
        done = run_jobs(jobs, perform, lambda job, _: None, workers)
    for job, records in done:
        for key, record in records.items():
            store.put(key, record)
        advance(job.images)


def perform(job: Job, report: Callable[[int], None]) -> dict[str, dict]:
    """The records of a job by key."""
    return {count.key: count_one(job.spec, count) for count in job.counts}

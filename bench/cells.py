"""Fills the cells of a table: which protocol obtains which number, and the command for those that are not
run here.
"""

import json
import shlex
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from bench.compare import NOT_RUN, verdict
from bench.errors import UserError, nearest
from bench.records import Store, code_version
from tables import Cell, Column, Row, TableRecord
from tables import load as load_record
from tables.metrics import METRICS

if TYPE_CHECKING:
    from models.spec import Spec

# What a count depends on; a change anywhere in these makes the stored counts stale.
COUNTED_CODE = ("ops", "models", "bench/protocol")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was counted for a cell: numbers in the column's unit by protocol, and what has no formula."""

    numbers: dict[str, Decimal] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """A printed cell with what we found.

    `measured` is in the column's unit and unrounded, None where nothing was run; `also` holds the numbers of
    further protocols; `reason` says why ours differs, or why there is none; `command` would obtain the
    number; `uncounted` gives the calls of each operator that no count has a formula for.
    """

    row: Row
    column: Column
    cell: Cell
    evidence: str
    measured: Decimal | None
    verdict: str
    reason: str | None = None
    command: str | None = None
    also: dict[str, Decimal] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)

    @property
    def delta(self) -> Decimal | None:
        """Ours minus the printed number, in the column's unit."""
        return None if self.measured is None else self.measured - self.cell.printed.value


def load_table(paper: str, table: str) -> TableRecord:
    """The record of a table, its presets and overrides checked against the models. Raises RecordError."""
    return load_record(paper, table, check_preset=_spec)


def row_spec(row: Row, dataset: str) -> "Spec":
    """The spec of a row on a data set. Raises SpecError, and KeyError where the row has no preset for it."""
    return _spec(row.preset[dataset], row.overrides, row.variant)


def _spec(preset: str, overrides: dict, variant: str | None) -> "Spec":
    import models
    from models.spec import override

    chosen = models.preset(preset) if variant is None else models.preset(preset, variant)
    return override(chosen, overrides)


def train_command(record: TableRecord, row: Row, dataset: str) -> str:
    """The command that trains and evaluates one row by the paper's own protocol."""
    return (
        f"python -m bench train --table {record.paper}/{record.table} --row {row.number}"
        f" --dataset {dataset} --root DIR --backbone-weights FILE"
    )


def fill(
    record: TableRecord,
    evidence: Collection[str],
    store: Store,
    progress: Callable[[list], Iterator] = iter,
) -> list[CellResult]:
    """Finds our number for every printed cell, line by line.

    Cells whose kind of evidence is not in `evidence` stay `.`. Counts come from the store where it has them.
    `progress` wraps the list of cells that are to be computed, to show how far it is.
    """
    found = {
        (row.number, column.id): _counted(row, column, store)
        for row, column, _ in progress([cell for cell in record.cells if _is_counted(*cell[:2], evidence)])
    }
    return [
        _result(record, row, column, cell, found.get((row.number, column.id), Counts()))
        for row, column, cell in record.cells
    ]


def _is_counted(row: Row, column: Column, evidence: Collection[str]) -> bool:
    kind = METRICS[column.metric].evidence
    return kind == "counted" and kind in evidence and column.dataset in row.preset


def _result(record: TableRecord, row: Row, column: Column, cell: Cell, counts: Counts) -> CellResult:
    measured = counts.numbers.get(column.protocol)
    found = verdict(cell.printed, measured, column.tolerance, cell.contradicted)
    command = _command(record, row, column)
    reason = cell.reason
    if found == NOT_RUN:
        reason = f"not run: {command}" if command else (row.unbuildable or "a quoted number, not built here")
    return CellResult(
        row=row,
        column=column,
        cell=cell,
        evidence=METRICS[column.metric].evidence,
        measured=measured,
        verdict=found,
        reason=reason,
        command=command,
        also={name: number for name, number in counts.numbers.items() if name != column.protocol},
        uncounted=counts.uncounted,
    )


def _command(record: TableRecord, row: Row, column: Column) -> str | None:
    if column.dataset not in row.preset:
        return None
    if METRICS[column.metric].evidence == "trained":
        return train_command(record, row, column.dataset)
    return _measure_command(row, column)


def _measure_command(row: Row, column: Column) -> str:
    """The command that counts one row."""
    parts = ["python -m bench measure", row.preset[column.dataset]]
    if column.size:
        parts.append(f"--size {column.size[0]}x{column.size[1]}")
    if row.variant:
        parts.append(f"--variant {row.variant}")
    for path, value in row.overrides.items():
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        parts.append(f"--set {shlex.quote(f'{path}={text}')}")
    return " ".join(parts)


def _counted(row: Row, column: Column, store: Store) -> Counts:
    """The counts of a cell, from the store where it has them."""
    from models.spec import to_dict

    spec = row_spec(row, column.dataset)
    scale = Decimal(METRICS[column.metric].units[column.unit])
    numbers, uncounted = {}, {}
    for protocol in filter(None, (column.protocol, column.also)):
        key = store.key(
            spec=to_dict(spec), protocol=protocol, code=code_version(*COUNTED_CODE), size=column.size
        )
        counts = store.get(key)
        if counts is None:
            counts = _COUNTERS[column.metric](spec, column, protocol)
            store.put(key, counts)
        numbers[protocol] = Decimal(counts["value"]) / scale
        uncounted |= counts.get("uncounted", {})
    return Counts(numbers=numbers, uncounted=uncounted)


_PARAMS = {"params/all-v1": "total", "params/trainable-v1": "trainable"}


def _count_params(spec: "Spec", column: Column, protocol: str) -> dict:
    from bench.protocol import params

    if protocol not in _PARAMS:
        raise UserError(f"column {column.id!r}: no protocol {protocol!r}{nearest(protocol, _PARAMS)}")
    counts = params.count(spec)
    return {"value": int(getattr(counts, _PARAMS[protocol])), "by_part": dict(counts.by_part)}


def _count_flops(spec: "Spec", column: Column, protocol: str) -> dict:
    from bench.protocol import flops

    if column.size is None:
        raise UserError(f"column {column.id!r}: {protocol} needs the size of an image")
    counts = flops.count(spec, size=column.size, protocol=protocol)
    return {
        "value": int(counts.total),
        "by_part": dict(counts.by_part),
        "by_operator": dict(counts.by_operator),
        "uncounted": dict(counts.uncounted),
    }


_COUNTERS: dict[str, Callable[["Spec", Column, str], dict]] = {
    "params": _count_params,
    "flops": _count_flops,
}

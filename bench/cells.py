"""Fills the cells of a table: which kind of evidence obtains which number, and the command for those that
are not run here.
"""

import json
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from decimal import Decimal

from bench import accuracy, configured, counting, speed
from bench.audit import contradictions
from bench.compare import NOT_RUN, verdict
from bench.counting import make_spec, row_spec
from bench.records import Store
from tables import Cell, Column, Row, TableRecord
from tables import load as load_record
from tables.metrics import METRICS

__all__ = ["CellResult", "Found", "fill", "load_table", "row_spec"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found for a cell: numbers in the column's unit by protocol, the cell's own first.

    `uncounted` gives the calls of each operator that no count has a formula for; `assumptions` are what a
    prediction depends on; `why` says why there is no number, or where it comes from. A number of trained
    weights has the kind of `evidence` that they are, and `weights`: whose, and under which licence.
    """

    numbers: dict[str, Decimal] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    why: str | None = None
    evidence: str | None = None
    weights: str | None = None


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """A printed cell with what we found.

    `line` and `line_label` are those of the printed line, `column_label` that of the printed column; in a
    table printed sideways a line is a metric.
    `measured` is in the column's unit and unrounded, None where nothing was run; `protocol` is how it is
    obtained; `also` holds the numbers of further protocols; `reason` says what speaks against the printed
    number, why ours differs, or why there is none; `command` would obtain the number; `uncounted` gives the
    calls of each operator that no count has a formula for; `assumptions` are what a prediction depends on;
    `weights` are those that were evaluated.
    """

    row: Row
    column: Column
    cell: Cell
    line: int
    line_label: str
    column_label: str
    evidence: str
    measured: Decimal | None
    verdict: str
    protocol: str
    reason: str | None = None
    command: str | None = None
    also: dict[str, Decimal] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    weights: str | None = None

    @property
    def delta(self) -> Decimal | None:
        """Ours minus the printed number, in the column's unit."""
        return None if self.measured is None else self.measured - self.cell.printed.value


def load_table(paper: str, table: str) -> TableRecord:
    """The record of a table, its presets and overrides checked against the models. Raises RecordError."""
    return load_record(paper, table, check_preset=make_spec)


def fill(
    record: TableRecord,
    evidence: Collection[str],
    store: Store,
    measurement: speed.Measurement | None = None,
) -> list[CellResult]:
    """Finds our number for every printed cell, line by line.

    Cells whose kind of evidence is not in `evidence` stay `.`. Counts come from the store where it has them,
    see `counting.prepare`. Speeds are those of `measurement`, by default of the committed one, whatever
    `evidence` says: they take minutes.
    """
    speeds = _speeds(record, measurement or speed.read(record))
    return [
        _result(
            record,
            row,
            column,
            cell,
            speeds.get((row.number, column.id)) or _find(record, row, column, cell, evidence, store),
        )
        for row, column, cell in record.cells
    ]


def _speeds(record: TableRecord, measurement: speed.Measurement | None) -> dict[tuple[int, str], Found]:
    if measurement is None:
        return {}
    return {
        place: Found(
            numbers={speed.RATIO: found.scaled, speed.RAW: found.raw},
            why=f"{found.raw} a second on {measurement.words}; times {found.factor:.3g}, one factor for the "
            "column, since only ratios between rows can be compared with those of another device",
        )
        for place, found in speed.speeds(record, measurement.timed).items()
    }


def _find(
    record: TableRecord, row: Row, column: Column, cell: Cell, evidence: Collection[str], store: Store
) -> Found:
    kind = METRICS[column.metric].evidence
    if column.preset_key not in row.preset:
        return Found()
    if kind == "trained" and accuracy.OFFICIAL in evidence:
        return _scored(record, row, column, cell, store)
    if kind not in evidence or kind not in _FINDERS:
        return Found()
    return _FINDERS[kind](record, row, column, cell, store)


def _counted(record: TableRecord, row: Row, column: Column, cell: Cell, store: Store) -> Found:
    counts = counting.counted(record, row, column, cell, store)
    return Found(numbers=counts.numbers, uncounted=counts.uncounted, assumptions=counts.assumptions)


def _configured(record: TableRecord, row: Row, column: Column, cell: Cell, store: Store) -> Found:
    ours = configured.setting(row, column)
    return Found(numbers={} if ours.value is None else {cell.protocol: ours.value}, why=ours.why)


def _scored(record: TableRecord, row: Row, column: Column, cell: Cell, store: Store) -> Found:
    """What an evaluation of the authors' weights came to."""
    found = accuracy.score(record, row, column, cell, store)
    if found is None:
        return Found()
    value, weights = found
    return Found(
        numbers={cell.protocol: value}, why=weights, evidence=accuracy.OFFICIAL, weights=weights
    )


_FINDERS: dict[str, Callable[[TableRecord, Row, Column, Cell, Store], Found]] = {
    "counted": _counted,
    "predicted": _counted,
    "configured": _configured,
}


def _result(record: TableRecord, row: Row, column: Column, cell: Cell, found: Found) -> CellResult:
    protocol = counting.protocol_of(row, column, cell)
    measured = found.numbers.get(protocol)
    against = contradictions().get((record.paper, record.table, row.number, column.id))
    sign = verdict(cell.printed, measured, column.tolerance, cell.contradicted or against is not None)
    command = command_of(record, row, column, cell)
    reasons = [against, cell.reason or found.why]
    if sign == NOT_RUN:
        reasons = [_not_run(row, column, cell, found, command)]
    line, label = record.line(row, column)
    return CellResult(
        row=row,
        column=column,
        cell=cell,
        line=line,
        line_label=label,
        column_label=row.label if record.sideways else column.label,
        evidence=found.evidence or METRICS[column.metric].evidence,
        measured=measured,
        verdict=sign,
        protocol=protocol,
        reason=" ".join(filter(None, reasons)) or None,
        command=command,
        also={name: number for name, number in found.numbers.items() if name != protocol},
        uncounted=found.uncounted,
        assumptions=found.assumptions,
        weights=found.weights,
    )


def _not_run(row: Row, column: Column, cell: Cell, found: Found, command: str | None) -> str:
    """Why a cell has no number of ours, and what would obtain one."""
    if column.preset_key not in row.preset:
        return row.unbuildable or "a quoted number, not built here"
    if found.why:
        return found.why
    known = accuracy.remark(column, cell) if METRICS[column.metric].evidence == "trained" else None
    if command is None:
        return f"not run: {known or _BY_HAND.get(column.metric, 'no command here obtains it')}"
    return f"not run: {known + ': ' if known else ''}{command}"


_BY_HAND = {
    **dict.fromkeys(
        ("query_count", "true_positives", "predictions", "precision"),
        "needs a trained model and the data set; no command here measures it yet",
    ),
}


def command_of(record: TableRecord, row: Row, column: Column, cell: Cell) -> str | None:
    """The command that obtains a cell; None where there is none."""
    if column.preset_key not in row.preset:
        return None
    kind = METRICS[column.metric].evidence
    if kind == "trained":
        return accuracy.command(record, row, column, cell)
    if column.metric == "attention_fraction":
        return accuracy.attention(record, row, column)
    if kind == "counted":
        return measure_command(row, column, cell)
    if kind in ("configured", "predicted") or column.metric == "fps":
        return f"python -m bench table {record.paper} {record.table} --evidence {kind}"
    return None


def measure_command(row: Row, column: Column, cell: Cell) -> str:
    """The command that counts one cell."""
    parts = ["python -m bench measure", row.preset[column.preset_key]]
    if column.metric == "flops":
        if column.size:
            parts.append(f"--size {column.size[0]}x{column.size[1]}")
        protocol = counting.protocol_of(row, column, cell)
        if not _measured_by_default(row.preset[column.preset_key], protocol):
            parts.append(f"--protocol {protocol}")
    if row.variant:
        parts.append(f"--variant {row.variant}")
    for path, value in row.overrides.items():
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        parts.append(f"--set {shlex.quote(f'{path}={text}')}")
    return " ".join(parts)


def _measured_by_default(preset: str, protocol: str) -> bool:
    """Whether `measure` without options gives FLOPs by this protocol."""
    from bench.protocol import systems

    return protocol in (systems.EXACT, systems.setting(preset).protocol)

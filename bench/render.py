"""A filled table as data: the JSON of a report, the same cells as CSV, and the line that sums them up."""

import csv
import io
import json
from collections.abc import Sequence
from decimal import Decimal

import tables
from bench.cells import CellResult
from bench.compare import CONTRADICTED, EQUAL, NEAR, OUTSIDE
from tables import TableRecord

SCHEMA = 1

_FIELDS = (
    "row", "row_label", "column", "column_label", "provenance", "metric", "dataset", "unit",
    "published", "published_value", "decimals", "printed_delta",
    "evidence", "measured", "delta", "verdict", "protocol", "also", "uncounted", "reason", "command",
)  # fmt: skip


def payload(
    record: TableRecord, results: Sequence[CellResult], environment: dict, mini: dict | None = None
) -> dict:
    """The report of a table as JSON-able data. `mini` is the mini replication, if one was run."""
    data = {
        "schema": SCHEMA,
        "paper": record.paper,
        "table": record.table,
        "title": record.title,
        "environment": environment,
        "cells": [cell_data(result) for result in results],
    }
    return data if mini is None else {**data, "mini": mini}


def cell_data(result: CellResult) -> dict:
    """One cell as JSON-able data; numbers are in the column's unit and unrounded."""
    column, printed = result.column, result.cell.printed
    return {
        "row": result.line,
        "row_label": result.line_label,
        "column": column.id,
        "column_label": result.column_label,
        "provenance": result.cell.provenance,
        "metric": column.metric,
        "dataset": column.dataset,
        "unit": column.unit,
        "published": result.cell.text,
        "published_value": float(printed.value),
        "decimals": printed.decimals,
        "printed_delta": result.cell.printed_delta,
        "evidence": result.evidence,
        "measured": _number(result.measured),
        "delta": _number(result.delta),
        "verdict": result.verdict,
        "protocol": result.protocol,
        "also": {protocol: _number(number) for protocol, number in sorted(result.also.items())},
        "uncounted": result.uncounted,
        "reason": result.reason,
        "command": result.command,
    }


def json_text(data: dict) -> str:
    """`data` as the text of a JSON file, in the given order."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(data: dict) -> str:
    """The cells of a payload as CSV, one line a cell."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _FIELDS, lineterminator="\n")
    writer.writeheader()
    for cell in data["cells"]:
        lists = {
            name: "; ".join(f"{key} {value}" for key, value in cell[name].items())
            for name in ("also", "uncounted")
        }
        writer.writerow(cell | lists)
    return buffer.getvalue()


def verdict_line(record: TableRecord, results: Sequence[CellResult]) -> str:
    """The sentence a report begins with, such as "FASeg Table 4: 7 of 8 counted cells equal at the printed
    precision, 1 within 2 % and explained; 8 accuracy cells not run."
    """
    run = [result for result in results if result.measured is not None]
    parts = []
    for kind in dict.fromkeys(result.evidence for result in run):
        parts.append(_of_kind(kind, [result for result in run if result.evidence == kind]))
    waiting = [result for result in results if result.measured is None]
    for kind in dict.fromkeys(result.evidence for result in waiting):
        found = [result for result in waiting if result.evidence == kind]
        name = "accuracy" if kind == "trained" else kind
        parts.append(f"{len(found)} {name} {_cells(len(found))} not run{_contradicted(found, ' of them')}")
    return f"{tables.paper(record.paper).name} {record.name}: {'; '.join(parts)}."


def _of_kind(kind: str, results: list[CellResult]) -> str:
    """What became of the cells with one kind of evidence."""
    groups = {
        sign: [result for result in results if result.verdict == sign] for sign in (EQUAL, NEAR, OUTSIDE)
    }
    total = len(results)
    parts = [f"{len(groups[EQUAL])} of {total} {kind} {_cells(total)} equal at the printed precision"]
    if groups[NEAR]:
        parts.append(f"{len(groups[NEAR])} within {_tolerances(groups[NEAR])}{_explained(groups[NEAR])}")
    if groups[OUTSIDE]:
        parts.append(f"{len(groups[OUTSIDE])} outside the tolerance{_explained(groups[OUTSIDE])}")
    return ", ".join(parts) + _contradicted(results)


def _contradicted(results: list[CellResult], of: str = "") -> str:
    count = sum(result.verdict == CONTRADICTED for result in results)
    return f", {count}{of} printed in contradiction to the papers" if count else ""


def _tolerances(results: list[CellResult]) -> str:
    return " or ".join(dict.fromkeys(tolerance_text(result) for result in results))


def tolerance_text(result: CellResult) -> str:
    """What a cell may differ by and be `~`, such as "2 %" or "0.5 points or the printed ± 0.1"; "none"."""
    tolerance, spread = result.column.tolerance, result.cell.printed.spread
    parts = []
    if tolerance.relative is not None:
        parts.append(f"{tolerance.relative * 100:g} %")
    if tolerance.absolute is not None:
        unit = "points" if result.column.unit == "%" else result.column.unit
        parts.append(f"{tolerance.absolute:g} {unit}")
    if spread is not None:
        parts.append(f"the printed ± {spread}")
    return " or ".join(parts) or "none"


def _explained(results: list[CellResult]) -> str:
    count = sum(result.reason is not None for result in results)
    if count == len(results):
        return " and explained"
    return f" ({count} explained)" if count else ""


def _cells(count: int) -> str:
    return "cell" if count == 1 else "cells"


def _number(value: Decimal | None) -> float | None:
    return None if value is None or not value.is_finite() else float(value)

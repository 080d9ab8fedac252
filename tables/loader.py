"""From a TOML file to a TableRecord, with every mistake named by file, line and key."""

import tomllib
from collections.abc import Callable
from pathlib import Path

from tables.metrics import METRICS, Metric
from tables.names import natural, nearest, table_id
from tables.reader import Reader, RecordError
from tables.record import (
    Cell,
    Claim,
    Column,
    Mention,
    Paper,
    Printed,
    Row,
    TableRecord,
    Tolerance,
    parse,
)

FOLDER = Path(__file__).resolve().parent
PROVENANCES = ("own run", "re-run", "quoted")
RELATIONS = ("equal", "at most", "less than", "more than")
MINI = ("always", "on request")
NONE = "none"  # in overrides: TOML has no word for nothing

# Called with the preset, the overrides and the variant of a row; raises ValueError if that cannot be built.
PresetCheck = Callable[[str, dict, str | None], object]
_Reasons = dict[tuple[int, str], tuple[str, bool]]

_PAPER = {"name": str, "title": str, "authors": str, "venue": str}
_TABLE = {"title": str, "source": str, "column": list, "row": list}
_TABLE_OPTIONAL = {
    "reason": list,
    "claim": list,
    "mention": list,
    "deviations": list,
    "sideways": bool,
    "mini": str,
}
_COLUMN = {"id": str, "label": str, "metric": str, "unit": str, "protocol": str, "dataset": str}
_COLUMN_OPTIONAL = {
    "tolerance": dict,
    "split": str,
    "size": list,
    "also": str,
    "batch": int,
    "preset": str,
    "setting": str,
    "line": int,
    "overrides": dict,
}
_ROW = {"label": str, "provenance": str, "cells": dict}
_ROW_OPTIONAL = {
    "preset": dict,
    "overrides": dict,
    "printed_delta": dict,
    "variant": str,
    "notes": list,
    "unbuildable": str,
    "delta_from": int,
    "differs": dict,
}
_DIFFERS = {"provenance": str, "protocol": str}
_REASON = {"row": int, "column": str, "text": str}
_CLAIM = {"where": str, "column": str, "row": int, "minus": int, "value": str}
_CLAIM_OPTIONAL = {"minus_column": str, "relation": str}
_MENTION = {"where": str, "column": str, "row": int, "value": str}


def papers() -> list[str]:
    """The papers that have a record, in alphabetical order."""
    return sorted({file.parent.name for file in FOLDER.glob("*/table*.toml")})


def tables(paper: str) -> list[str]:
    """The tables of a paper that have a record ("4", "4a", "10"). Raises RecordError for an unknown paper."""
    if paper not in papers():
        raise RecordError(f"unknown paper {paper!r}{nearest(paper, papers())}")
    names = (file.stem.removeprefix("table") for file in (FOLDER / paper).glob("table*.toml"))
    return sorted(names, key=natural)


def paper(name: str) -> Paper:
    """What `<paper>/paper.toml` says of a paper. Raises RecordError."""
    tables(name)  # an unknown paper is the same error everywhere
    _, read, data = _parse(FOLDER / name / "paper.toml")
    read.keys((), data, _PAPER, {"caution": str})
    return Paper(id=name, **data)


def load(paper: str, table: str, check_preset: PresetCheck | None = None) -> TableRecord:
    """The record of a table, `table` as printed ("4", "B.2"). Raises RecordError; see `load_file`."""
    known = tables(paper)
    name = table_id(table)
    if name not in known:
        raise RecordError(f"{paper} has no table {table!r}{nearest(name, known)}")
    return load_file(FOLDER / paper / f"table{name}.toml", check_preset)


def load_file(path: Path, check_preset: PresetCheck | None = None) -> TableRecord:
    """Reads and validates one file.

    `check_preset` is called for the presets of every row; without it presets are not checked, for this
    package does not know the models. Raises RecordError.
    """
    path, read, data = _parse(path)
    return _table(read, path, data, check_preset)


def _parse(path: Path) -> tuple[Path, Reader, dict]:
    path = Path(path)
    shown = str(path.relative_to(FOLDER.parent)) if path.is_relative_to(FOLDER.parent) else str(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise RecordError(f"{shown}: no such file") from None
    except ValueError as error:  # not UTF-8, or not TOML: the parser's message has the line
        raise RecordError(f"{shown}: {error}") from None
    return path, Reader(shown, text), data


def _table(read: Reader, path: Path, data: dict, check: PresetCheck | None) -> TableRecord:
    read.keys((), data, _TABLE, _TABLE_OPTIONAL)
    sideways = data.get("sideways", False)
    if "mini" in data:
        read.one_of(("mini",), "time of a mini replication", data["mini"], MINI)
    columns = {column.id: column for column in _columns(read, data, sideways)}
    reasons = _reasons(read, data, columns)
    rows = []
    for at, item in read.items("row", data):
        read.keys(at, item, _ROW, _ROW_OPTIONAL)
        read.one_of((*at, "provenance"), "provenance", item["provenance"], PROVENANCES)
        _check_presets(read, at, item, columns, check)
        if "delta_from" in item:
            read.within((*at, "delta_from"), item["delta_from"], len(data["row"]))
        rows.append(_row(read, at, item, _cells(read, at, item, columns, reasons)))
    read.unique("row", "label", [row.label for row in rows])
    return TableRecord(
        paper=path.parent.name,
        table=path.stem.removeprefix("table"),
        title=data["title"],
        source=data["source"],
        file=read.shown,
        columns=tuple(columns.values()),
        rows=tuple(rows),
        claims=tuple(_claim(read, at, item, columns, len(rows)) for at, item in read.items("claim", data)),
        mentions=tuple(
            _mention(read, at, item, columns, len(rows)) for at, item in read.items("mention", data)
        ),
        deviations=read.texts(("deviations",), data.get("deviations", [])),
        sideways=sideways,
        mini=data.get("mini"),
    )


def _columns(read: Reader, data: dict, sideways: bool) -> list[Column]:
    found = [_column(read, at, item) for at, item in read.items("column", data)]
    read.unique("column", "id", [column.id for column in found])
    for number, column in enumerate(found, start=1):
        if column.line is not None and not sideways:
            raise read.error(("column", number, "line"), "only in a table with sideways = true")
    return found


def _column(read: Reader, at: tuple, data: dict) -> Column:
    read.keys(at, data, _COLUMN, _COLUMN_OPTIONAL)
    read.one_of((*at, "metric"), "metric", data["metric"], METRICS)
    units = METRICS[data["metric"]].units
    read.one_of((*at, "unit"), f"unit of {data['metric']}", data["unit"], units)
    fields = {key: value for key, value in data.items() if key not in ("tolerance", "size")}
    return Column(**fields, tolerance=_tolerance(read, at, data), size=_size(read, at, data))


def _tolerance(read: Reader, at: tuple, data: dict) -> Tolerance:
    at, found = (*at, "tolerance"), data.get("tolerance", {})
    read.keys(at, found, {}, {"relative": float, "absolute": float})
    if not all(value >= 0 for value in found.values()) or found.get("relative", 0) >= 1:
        raise read.error(at, f"out of range: {found!r}")
    return Tolerance(**found)


def _size(read: Reader, at: tuple, data: dict) -> tuple[int, int] | None:
    if "size" not in data:
        return None
    size = data["size"]
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise read.error((*at, "size"), f"must be [height, width], not {size!r}")
    return (size[0], size[1])


def _reasons(read: Reader, data: dict, columns: dict[str, Column]) -> _Reasons:
    found = {}
    for at, item in read.items("reason", data):
        read.keys(at, item, _REASON, {"contradicted": bool})
        read.within((*at, "row"), item["row"], len(data["row"]))
        read.one_of((*at, "column"), "column", item["column"], columns)
        place = (item["row"], item["column"])
        if place in found:
            raise read.error(at, f"a second reason for row {place[0]}, column {place[1]!r}")
        found[place] = (" ".join(item["text"].split()), item.get("contradicted", False))
    return found


def _row(read: Reader, at: tuple, data: dict, cells: dict[str, Cell]) -> Row:
    given = ("preset", "variant", "unbuildable", "delta_from")
    return Row(
        number=at[1],
        label=data["label"],
        provenance=data["provenance"],
        cells=cells,
        notes=read.texts((*at, "notes"), data.get("notes", [])),
        overrides=_overrides(data),
        **{key: data[key] for key in given if key in data},
    )


def _cells(
    read: Reader, at: tuple, data: dict, columns: dict[str, Column], reasons: _Reasons
) -> dict[str, Cell]:
    deltas, differs = _deltas(read, at, data), data.get("differs", {})
    for part in ("cells", "printed_delta", "differs"):
        for name in data.get(part, {}):
            read.one_of((*at, part, name), "column", name, columns)
    cells = {}
    for name, column in columns.items():
        key = (*at, "cells", name)
        if name not in data["cells"]:
            raise read.error(key, 'missing; a cell without a number is "-"')
        text = data["cells"][name]
        printed = _number(read, key, text)
        if printed is not None:
            _check_scale(read, key, printed, column)
        reason, contradicted = reasons.get((at[1], name), (None, False))
        cells[name] = Cell(
            column=name,
            text=text,
            printed=printed,
            printed_delta=deltas.get(name),
            reason=reason,
            contradicted=contradicted,
            **_differs(read, (*at, "differs", name), data["provenance"], column, differs.get(name, {})),
        )
    return cells


def _differs(read: Reader, at: tuple, provenance: str, column: Column, given: dict) -> dict[str, str]:
    """Provenance and protocol of a cell: its own where it has any, else the row's and the column's."""
    read.keys(at, given, {}, _DIFFERS)
    found = {"provenance": provenance, "protocol": column.protocol, **given}
    read.one_of((*at, "provenance"), "provenance", found["provenance"], PROVENANCES)
    return found


def _deltas(read: Reader, at: tuple, data: dict) -> dict[str, str]:
    """The printed differences of a row: signed numbers beside numbers."""
    deltas = data.get("printed_delta", {})
    for name, text in deltas.items():
        key = (*at, "printed_delta", name)
        if _number(read, key, text) is None or text[0] not in "+-":
            raise read.error(key, f"must be a signed number, not {text!r}")
        if data["cells"].get(name) == "-":
            raise read.error(key, "the cell beside it has no number")
    return deltas


def _overrides(data: dict) -> dict:
    """The overrides of a row, nothing for the word "none"."""
    return {path: None if value == NONE else value for path, value in data.get("overrides", {}).items()}


def _number(read: Reader, key: tuple, text: object) -> Printed | None:
    if not isinstance(text, str):
        raise read.error(key, f"must be a string exactly as printed, not {text!r}")
    try:
        return parse(text)
    except ValueError as error:
        raise read.error(key, str(error)) from None


def _check_scale(read: Reader, key: tuple, printed: Printed, column: Column) -> None:
    """The number is in the column's unit, and a plausible one."""
    metric = METRICS[column.metric]
    unit = printed.suffix or column.unit
    if metric.units.get(unit) != metric.units[column.unit]:
        raise read.error(key, f"{printed.text!r} is not in the column's unit, {column.unit}")
    if not metric.low <= float(printed.value) * metric.units[unit] <= metric.high:
        raise read.error(key, _implausible(printed.text, column.unit, metric))


def _implausible(text: str, unit: str, metric: Metric) -> str:
    low, high = (f"{bound / metric.units[unit]:,.6g}" for bound in (metric.low, metric.high))
    return f"{text!r} is no plausible value of {metric.name} in {unit} ({low} to {high}); is the unit right?"


def _check_presets(
    read: Reader, at: tuple, data: dict, columns: dict[str, Column], check: PresetCheck | None
) -> None:
    """Every number of the row has a preset, unless the row is quoted or says why it cannot be built."""
    presets = data.get("preset", {})
    if not presets and (data["provenance"] == "quoted" or "unbuildable" in data):
        return
    needed = [column.preset_key for column in columns.values() if data["cells"].get(column.id) != "-"]
    for dataset in sorted(set(needed)):
        if dataset not in presets:
            message = "missing preset; a row that cannot be built says why in unbuildable"
            raise read.error((*at, "preset", dataset), message)
    for dataset, name in presets.items():
        key = (*at, "preset", dataset)
        read.one_of(key, "data set", dataset, {column.preset_key for column in columns.values()})
        if not isinstance(name, str):
            raise read.error(key, f"must be the name of a preset, not {name!r}")
        if check is None:
            continue
        try:
            check(name, _overrides(data), data.get("variant"))
        except ValueError as error:
            raise read.error(key, str(error)) from None


def _claim(read: Reader, at: tuple, data: dict, columns: dict[str, Column], rows: int) -> Claim:
    read.keys(at, data, _CLAIM, _CLAIM_OPTIONAL)
    if "minus_column" in data:
        read.one_of((*at, "minus_column"), "column", data["minus_column"], columns)
    read.one_of((*at, "relation"), "relation", data.get("relation", "equal"), RELATIONS)
    read.within((*at, "minus"), data["minus"], rows)
    return Claim(**{**data, "value": _said(read, at, data, columns, rows)})


def _mention(read: Reader, at: tuple, data: dict, columns: dict[str, Column], rows: int) -> Mention:
    read.keys(at, data, _MENTION, {})
    return Mention(**{**data, "value": _said(read, at, data, columns, rows)})


def _said(read: Reader, at: tuple, data: dict, columns: dict[str, Column], rows: int) -> Printed:
    """The number in a sentence about a cell that there is."""
    read.one_of((*at, "column"), "column", data["column"], columns)
    read.within((*at, "row"), data["row"], rows)
    value = _number(read, (*at, "value"), data["value"])
    if value is None:
        raise read.error((*at, "value"), "must be a number")
    return value

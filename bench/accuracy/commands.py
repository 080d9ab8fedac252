"""The command that obtains a cell of accuracy: evaluating released weights, or training first."""

from __future__ import annotations

from dataclasses import replace

from bench.accuracy.plan import Plan, plan
from bench.accuracy.released import of_row
from tables import Cell, Column, Row, TableRecord
from tables.metrics import ACCURACY

_PRIVATE = "the labels of {split} are not public, its server scores what it is sent; on {ours} instead"


def command(record: TableRecord, row: Row, column: Column, cell: Cell) -> str | None:
    """The command for a cell of a row that has a preset for the column; None where none would obtain it."""
    asked = plan(column, cell)
    if isinstance(asked, str):
        return None
    if of_row(record, row, column.preset_key) is not None:
        return evaluate_released(record, row, _same_evaluation(record, row, column, asked))
    training = train(record, row, column)
    if _told_by_training(row, column, asked):
        return training
    return f"{training} && {evaluate_run(record, row, column, asked)}"


def remark(column: Column, cell: Cell) -> str | None:
    """What a reader must know of a cell beside its command; None where that says it all."""
    asked = plan(column, cell)
    if isinstance(asked, str):
        return asked
    return _PRIVATE.format(split=asked.private, ours=asked.split) if asked.private else None


def evaluate_released(record: TableRecord, row: Row, column: Column) -> str:
    """Evaluates the authors' weights of a row as a column asks."""
    return (
        f"python -m bench eval --table {record.paper}/{record.table} --row {row.number} --column {column.id}"
        f" --weights released --accept-licence --dataset {column.dataset} --root DIR"
    )


def train(record: TableRecord, row: Row, column: Column) -> str:
    """Trains a row by the paper's own schedule and evaluates it at one scale."""
    which = "" if column.preset_key == column.dataset else f" --column {column.id}"
    return (
        f"python -m bench train --table {record.paper}/{record.table} --row {row.number}{which}"
        f" --dataset {column.dataset} --root DIR --backbone-weights FILE"
    )


def attention(record: TableRecord, row: Row, column: Column) -> str:
    """Looks at the attention of a row's model: with the authors' weights, or after training."""
    column = next(one for one in record.columns if one.preset_key == column.preset_key)  # one run for all
    data = f"--dataset {column.dataset} --root DIR --attention"
    if of_row(record, row, column.preset_key) is None:
        run = _run(record, row, column)
        return f"{train(record, row, column)} && python -m bench eval --run {run} {data}"
    place = f"--table {record.paper}/{record.table} --row {row.number}"
    return f"python -m bench eval {place} --weights released --accept-licence {data}"


def _run(record: TableRecord, row: Row, column: Column) -> str:
    """The folder that `train` makes."""
    which = "" if column.preset_key == column.dataset else f"-{column.id}"
    return f"runs/{record.paper}-table{record.table}-row{row.number}{which}-{column.dataset}-0"


def evaluate_run(record: TableRecord, row: Row, column: Column, asked: Plan) -> str:
    """Evaluates the run of `train` as a column asks."""
    run = _run(record, row, column)
    parts = [f"python -m bench eval --run {run} --dataset {column.dataset} --root DIR --task {asked.task}"]
    parts += ["--multi-scale"] if asked.multi_scale else []
    parts += ["--boundary"] if asked.boundary else []
    parts += [f"--corruption {asked.corruption}"] if asked.corruption else []
    parts += [f"--limit {asked.images}"] if asked.images else []
    return " ".join(parts)


def _same_evaluation(record: TableRecord, row: Row, column: Column, asked: Plan) -> Column:
    """The first column that the same evaluation gives a number for: PQ for its parts, AP for its sizes."""
    for other in record.columns:
        cell = row.cells.get(other.id)
        if other.metric not in ACCURACY or cell is None or cell.printed is None:
            continue
        if (other.preset_key, other.dataset, other.overrides) != (
            column.preset_key, column.dataset, column.overrides,
        ):  # fmt: skip
            continue
        found = plan(other, cell)
        if isinstance(found, Plan) and replace(found, score=asked.score) == asked:
            return other
    return column


def _told_by_training(row: Row, column: Column, asked: Plan) -> bool:
    """Whether the evaluation at the end of a training run already gives the number."""
    from bench.tasks import key_task, split_preset

    task = key_task(column.preset_key) or split_preset(row.preset[column.preset_key])[1]
    special = asked.multi_scale or asked.boundary or asked.corruption or asked.images
    return asked.task == task and not special

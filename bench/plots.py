"""The plots of a report, drawn the same way on every run."""

import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cells import CellResult
from bench.render_mini import MiniRow
from tables import Column, TableRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _GRID, _FAINT = "#222222", "#e6e9ed", "#9aa5b1"
_OURS = {"color": "#1b6ca8", "ms": 6}
_PUBLISHED = "#d1495b"
_MARKS = "sd^v"  # one for each column of published differences


def counted_figure(record: TableRecord, results: Sequence[CellResult]) -> "Figure | None":
    """Published numbers against ours, a panel for each counted column; None where nothing was counted."""
    counted = [result for result in results if result.measured is not None and result.evidence == "counted"]
    columns = [column for column in record.columns if any(result.column is column for result in counted)]
    if not columns:
        return None
    figure, axes = _panels(len(columns), [row.label for row in record.rows])
    for axis, column in zip(axes, columns, strict=True):
        _counted_panel(axis, column, [result for result in counted if result.column is column])
    labelled = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        labelled.update(zip(labels, handles, strict=True))
    _legend(figure, labelled, ncols=4)
    return figure


def _counted_panel(axis: "Axes", column: Column, results: list[CellResult]) -> None:
    """What prints as published, the published number, ours, and ours by the other protocol."""
    rows = [result.row.number for result in results]
    published = [float(result.cell.printed.value) for result in results]
    widths = [float(Decimal(1).scaleb(-result.cell.printed.decimals)) for result in results]
    lefts = [value - width / 2 for value, width in zip(published, widths, strict=True)]
    axis.barh(rows, widths, 0.5, lefts, color=_PUBLISHED, alpha=0.2, label="prints as published")
    axis.plot(published, rows, "|", ms=14, color=_PUBLISHED, label="published")
    axis.plot([float(r.measured) for r in results], rows, "o", **_OURS, label="ours, by the paper's protocol")
    also = [(float(r.also[column.also]), r.row.number) for r in results if column.also in r.also]
    if also:
        axis.plot(*zip(*also, strict=True), "D", ms=4, mfc="none", color=_FAINT, label=f"ours, {column.also}")
    for result in results:
        at = (float(result.measured), result.row.number)
        text = f"{result.measured:.2f}  {result.verdict}"
        axis.annotate(text, at, (0, 14), textcoords="offset points", ha="center", fontsize=8, color=_INK)
    axis.set_xlabel(column.label)
    axis.use_sticky_edges = False
    axis.margins(x=0.12)


def mini_figure(record: TableRecord, rows: Sequence[MiniRow]) -> "Figure | None":
    """Differences to the first row with their intervals, and the published ones; None with one row."""
    compared = [row for row in rows if row.over is not None]
    if not compared:
        return None
    figure, (axis,) = _panels(1, [row.label for row in compared])
    axis.axvline(0, color=_INK, lw=0.8)
    places = range(1, len(compared) + 1)
    for place, row in zip(places, compared, strict=True):
        _mini_line(axis, place, row, rows[0])
    columns = [column for column in record.columns if any(column.id in row.published for row in compared)]
    for mark, column in zip(_MARKS, columns, strict=False):
        sizes = [row.published.get(column.id, math.nan) for row in compared]
        above = [place - 0.2 for place in places]
        label = f"published, {column.label}"
        axis.plot(sizes, above, mark, ms=6, mfc="none", color=_PUBLISHED, label=label)
    axis.set_xlabel(f"mIoU minus that of {rows[0].label} (points)")
    handles, labels = axis.get_legend_handles_labels()
    _legend(figure, dict(zip(labels, handles, strict=True)), ncols=2)
    return figure


def _mini_line(axis: "Axes", place: int, row: MiniRow, first: MiniRow) -> None:
    """One row: the mean difference with its interval, and the difference of each seed below it."""
    over = row.over
    pairs = [score - other for score, other in zip(row.scores, first.scores, strict=True)]
    axis.plot(pairs, [place + 0.2] * len(pairs), ".", ms=4, color=_FAINT, label="each seed")
    if over.low is not None:
        axis.plot(
            [over.low, over.high], [place, place], "-|", color=_OURS["color"], ms=10, label="95 % interval"
        )
    axis.plot(over.mean, place, "o", **_OURS, label="mean over seeds")


def _panels(count: int, labels: Sequence[str]) -> "tuple[Figure, list[Axes]]":
    """A figure with `count` panels side by side and a line for each label, the first on top."""
    from matplotlib.figure import Figure

    size = (max(7.0, 4.6 * count), 1.3 + 0.55 * len(labels))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", color=_GRID)
        axis.set_axisbelow(True)
        axis.set_yticks(range(1, len(labels) + 1), labels)
        axis.set_ylim(len(labels) + 0.6, 0.4)
    return figure, axes


def _legend(figure: "Figure", labelled: dict, ncols: int) -> None:
    where = {"loc": "outside lower center", "ncols": ncols}
    figure.legend(labelled.values(), labelled.keys(), frameon=False, fontsize=8, **where)


def save(figure: "Figure", path: Path) -> None:
    """Writes a PNG without the version of the library, which would make every machine's another file."""
    figure.savefig(path, metadata={"Software": None})

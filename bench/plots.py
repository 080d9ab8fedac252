"""The plots of a report, drawn the same way on every run, and only where they would show something new."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cells import CellResult
from bench.compare import CONTRADICTED, EQUAL, MEANING, NEAR, OUTSIDE
from bench.orderings import HOLDS, REVERSED, UNTOLD
from bench.records import code_version
from bench.render_mini import MiniRow, common_reference
from bench.spread import Difference
from tables import Column, TableRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _GRID, _FAINT = "#222222", "#e6e9ed", "#9aa5b1"
_OURS = {"color": "#1b6ca8", "ms": 6}
_PUBLISHED = "#d1495b"
_VERDICTS = {HOLDS: "#2a7f62", REVERSED: "#6a4c93", UNTOLD: "#9aa5b1"}
_MARKS = "sd^v"  # one for each column of published differences
_SIGNS = {
    EQUAL: ("o", _OURS["color"]),
    NEAR: ("^", "#e09f3e"),
    OUTSIDE: ("X", _PUBLISHED),
    CONTRADICTED: ("P", "#6a4c93"),
}
_QUANTITIES = {
    "params": ("parameters (M)", {"K": 1e-3, "M": 1}),
    "flops": ("FLOPs (G)", {"M": 1e-3, "G": 1, "T": 1e3}),
}


@dataclass(frozen=True)
class Drawing:
    """A plot that is yet to be drawn, and a key of all that it shows, which is kept in its file."""

    key: str
    draw: "Callable[[], Figure]"

    def save(self, path: Path) -> None:
        """Writes a PNG without the version of the library, which would make every machine's another file."""
        self.draw().savefig(path, metadata={"Software": None, "Source": self.key})

    def is_in(self, path: Path) -> bool:
        """Whether the file holds this very plot."""
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as image:
                return image.info.get("Source") == self.key
        except (FileNotFoundError, UnidentifiedImageError):
            return False


def _drawing(shown: object, draw: "Callable[[], Figure]") -> Drawing:
    text = f"{code_version('bench/plots.py')} {shown!r}"
    return Drawing(hashlib.sha256(text.encode()).hexdigest()[:32], draw)


def paper_drawing(name: str, cells: Sequence[dict]) -> Drawing | None:
    """All counted cells of a paper (as in the JSON reports): ours against print, and how far from it.

    None where nothing was counted.
    """
    points = [
        (cell["metric"], cell["published_value"] * scale, cell["measured"] * scale, cell["verdict"])
        for cell in cells
        if cell["evidence"] == "counted" and cell["measured"] is not None
        for scale in [_QUANTITIES[cell["metric"]][1][cell["unit"]]]
    ]
    return _drawing((name, points), lambda: _paper_figure(name, points)) if points else None


def _paper_figure(name: str, points: list[tuple]) -> "Figure":
    from matplotlib.figure import Figure

    metrics = [metric for metric in _QUANTITIES if any(point[0] == metric for point in points)]
    figure = Figure(figsize=(5.2 * len(metrics), 6.2), dpi=120, layout="constrained")
    grid = figure.subplots(2, len(metrics), squeeze=False, sharex="col", height_ratios=(2, 1))
    figure.suptitle(f"{name}: counted cells", fontsize=11)
    labelled = {}
    for (upper, lower), metric in zip(grid.T, metrics, strict=True):
        label = _QUANTITIES[metric][0]
        found = [point[1:] for point in points if point[0] == metric]
        ends = [min(min(p[:2]) for p in found) * 0.8, max(max(p[:2]) for p in found) * 1.25]
        upper.plot(ends, ends, "-", color=_GRID, lw=1.5, zorder=0)
        lower.axhline(0, color=_GRID, lw=1.5, zorder=0)
        for sign, (mark, color) in _SIGNS.items():
            chosen = [point for point in found if point[2] == sign]
            if not chosen:
                continue
            x, y = [p[0] for p in chosen], [p[1] for p in chosen]
            style = {"ls": "", "marker": mark, "ms": 6, "mfc": color, "mec": "white", "mew": 0.5}
            labelled[f"{sign}  {MEANING[sign]}"] = upper.plot(x, y, **style)[0]
            lower.plot(x, [(b / a - 1) * 100 for a, b in zip(x, y, strict=True)], **style)
        upper.set(xscale="log", yscale="log", ylabel=f"ours, {label}")
        lower.set(xlabel=f"published, {label}", ylabel="ours − published (%)")
        for axis in (upper, lower):
            axis.spines[["top", "right"]].set_visible(False)
            _plain_ticks(axis.xaxis)
        _plain_ticks(upper.yaxis)
    _legend(figure, labelled, ncols=2)
    return figure


def _plain_ticks(axis) -> None:  # noqa: ANN001
    """Numbers such as 50 and 200 on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def counted_drawing(record: TableRecord, results: Sequence[CellResult]) -> Drawing | None:
    """Published numbers against ours, a panel for each column that was counted or predicted; None where
    nothing was."""
    kinds = ("counted", "predicted")
    counted = [result for result in results if result.measured is not None and result.evidence in kinds]
    if not counted:
        return None
    columns = [(column.label, column.unit, column.also) for column in record.columns]
    labels = [[row.label for row in record.rows], columns]
    shown = [
        (r.row.number, r.column.id, r.cell.text, r.measured, r.verdict, sorted(r.also.items()))
        for r in counted
    ]
    return _drawing((labels, shown), lambda: _counted_figure(record, counted))


def _counted_figure(record: TableRecord, counted: Sequence[CellResult]) -> "Figure":
    """The rows that were counted, a panel for each column."""
    columns = [column for column in record.columns if any(result.column is column for result in counted)]
    rows = {row.number: row.label for row in record.rows if any(result.row is row for result in counted)}
    figure, axes = _panels(len(columns), list(rows.values()))
    places = {number: place for place, number in enumerate(rows, start=1)}
    for axis, column in zip(axes, columns, strict=True):
        _counted_panel(axis, column, [result for result in counted if result.column is column], places)
    labelled = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        labelled.update(zip(labels, handles, strict=True))
    _legend(figure, labelled, ncols=4)
    return figure


def _counted_panel(axis: "Axes", column: Column, results: list[CellResult], places: dict[int, int]) -> None:
    """What prints as published, the published number, ours, and ours by the other protocol; `places` are the
    heights of the rows."""
    rows = [places[result.row.number] for result in results]
    published = [float(result.cell.printed.value) for result in results]
    widths = [float(Decimal(1).scaleb(-result.cell.printed.decimals)) for result in results]
    lefts = [value - width / 2 for value, width in zip(published, widths, strict=True)]
    axis.barh(rows, widths, 0.5, lefts, color=_PUBLISHED, alpha=0.2, label="prints as published")
    axis.plot(published, rows, "|", ms=14, color=_PUBLISHED, label="published")
    ours = "ours, by the paper's protocol" if results[0].evidence == "counted" else f"ours, {column.protocol}"
    axis.plot([float(r.measured) for r in results], rows, "o", **_OURS, label=ours)
    also = [(float(r.also[column.also]), places[r.row.number]) for r in results if column.also in r.also]
    if also:
        axis.plot(*zip(*also, strict=True), "D", ms=4, mfc="none", color=_FAINT, label=f"ours, {column.also}")
    for result in results:
        at = (float(result.measured), places[result.row.number])
        number = f"{result.measured:,.0f}" if result.measured >= 1000 else f"{result.measured:.2f}"
        text = f"{number}  {result.verdict}"
        axis.annotate(text, at, (0, 14), textcoords="offset points", ha="center", fontsize=8, color=_INK)
    axis.set_xlabel(column.label if f"({column.unit})" in column.label else f"{column.label} ({column.unit})")
    if max(published) > 6 * min(published):
        axis.set_xscale("log")
        _plain_ticks(axis.xaxis)
    axis.use_sticky_edges = False
    axis.margins(x=0.18)


def mini_drawing(record: TableRecord, rows: Sequence[MiniRow]) -> Drawing | None:
    """Differences to the reference rows with their intervals, and the published ones; None with one row."""
    if all(row.over is None for row in rows):
        return None
    return _drawing(rows, lambda: _mini_figure(record, rows))


def _mini_figure(record: TableRecord, rows: Sequence[MiniRow]) -> "Figure":
    compared = [row for row in rows if row.over is not None]
    common = common_reference(rows)
    names = [row.label if common else f"{row.label}\nminus {row.reference[1]}" for row in compared]
    figure, (axis,) = _panels(1, names)
    axis.axvline(0, color=_INK, lw=0.8)
    places = range(1, len(compared) + 1)
    for place, row in zip(places, compared, strict=True):
        _mini_line(axis, place, row)
    columns = [column for column in record.columns if any(column.id in row.published for row in compared)]
    for mark, column in zip(_MARKS, columns, strict=False):
        sizes = [row.published.get(column.id, math.nan) for row in compared]
        above = [place - 0.2 for place in places]
        label = f"published, {column.label}"
        axis.plot(sizes, above, mark, ms=6, mfc="none", color=_PUBLISHED, label=label)
    axis.set_xlabel(f"mIoU minus that of {common} (points)" if common else "difference in mIoU (points)")
    handles, labels = axis.get_legend_handles_labels()
    _legend(figure, dict(zip(labels, handles, strict=True)), ncols=2)
    return figure


def _mini_line(axis: "Axes", place: int, row: MiniRow) -> None:
    """One row: the mean difference with its interval, and the difference of each seed below it."""
    over = row.over
    axis.plot(row.pairs, [place + 0.2] * len(row.pairs), ".", ms=4, color=_FAINT, label="each seed")
    if over.low is not None:
        axis.plot(
            [over.low, over.high], [place, place], "-|", color=_OURS["color"], ms=10, label="95 % interval"
        )
    axis.plot(over.mean, place, "o", **_OURS, label="mean over seeds")


def orderings_drawing(lines: Sequence[tuple[str, str, Difference, list[float]]]) -> Drawing | None:
    """Our differences with their intervals beside published ones, a line for each pair of rows.

    `lines`: (label, verdict, our difference, the published differences). None without any.
    """
    return _drawing(lines, lambda: _orderings_figure(lines)) if lines else None


def _orderings_figure(lines: Sequence[tuple[str, str, Difference, list[float]]]) -> "Figure":
    figure, (axis,) = _panels(1, [line[0] for line in lines], height=0.3)
    figure.set_size_inches(10, figure.get_figheight())
    axis.tick_params(axis="y", labelsize=8)
    axis.axvline(0, color=_INK, lw=0.8)
    for place, (_, verdict, found, published) in enumerate(lines, start=1):
        color = _VERDICTS[verdict]
        if found.low is not None:
            axis.plot([found.low, found.high], [place, place], "-|", color=color, ms=8, label=verdict)
        axis.plot(found.mean, place, "o", color=color, ms=5)
        style = {"ms": 5, "mfc": "none", "color": _PUBLISHED, "label": "published"}
        axis.plot(published, [place] * len(published), _MARKS[0], **style)
    axis.set_xlabel("difference in mIoU (points) with its 95 % interval")
    handles, labels = axis.get_legend_handles_labels()
    known = dict(zip(labels, handles, strict=True))
    _legend(figure, {name: known[name] for name in (*_VERDICTS, "published") if name in known}, ncols=4)
    return figure


def _panels(count: int, labels: Sequence[str], height: float = 0.55) -> "tuple[Figure, list[Axes]]":
    """A figure with `count` panels side by side and a line for each label, `height` inches apart, the first
    on top."""
    from matplotlib.figure import Figure

    size = (max(7.0, 4.6 * count), 1.3 + height * len(labels))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", color=_GRID)
        axis.set_axisbelow(True)
        axis.set_yticks(range(1, len(labels) + 1), labels if axis is axes[0] else [""] * len(labels))
        axis.set_ylim(len(labels) + 0.6, 0.4)
    return figure, axes


def _legend(figure: "Figure", labelled: dict, ncols: int) -> None:
    where = {"loc": "outside lower center", "ncols": ncols}
    figure.legend(labelled.values(), labelled.keys(), frameon=False, fontsize=8, **where)

"""The mini replication in a report: small trainings of every row, shown as differences with their spread."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev

from bench.markdown import Lines, escape, table
from bench.spread import Difference, difference, seeds_needed
from tables import TableRecord
from tables.metrics import ACCURACY

_READ_IT = "Compare rows with each other only: a score by itself says nothing about the paper's."


@dataclass(frozen=True, kw_only=True)
class MiniRow:
    """One row of a mini replication, in percent mIoU.

    `over` compares it with the first row, None for the first; `published` maps the accuracy columns to the
    printed difference of the same two rows.
    """

    row: int
    label: str
    scores: tuple[float, ...]
    untrained: tuple[float, ...]
    majority: float
    over: Difference | None
    published: dict[str, float]


def mini_rows(record: TableRecord, mini: dict) -> list[MiniRow]:
    """The rows of a mini result (as `bench.mini.run` gives it), each compared with the first."""
    first = mini["rows"][0]
    return [
        MiniRow(
            row=entry["row"],
            label=record.row(entry["row"]).label,
            scores=tuple(entry["scores"]),
            untrained=tuple(entry["untrained"]),
            majority=entry["majority"],
            over=None if entry is first else difference(entry["scores"], first["scores"]),
            published={} if entry is first else _published(record, entry["row"], first["row"]),
        )
        for entry in mini["rows"]
    ]


def _published(record: TableRecord, row: int, other: int) -> dict[str, float]:
    found = {}
    for column in record.columns:
        printed = [record.row(number).cells[column.id].printed for number in (row, other)]
        if column.metric in ACCURACY and all(printed):
            found[column.id] = float(printed[0].value - printed[1].value)
    return found


def mini_data(record: TableRecord, mini: dict) -> dict:
    """The mini result with its differences, for the JSON of a report."""
    compared = [
        {"row": row.row, "over_row": mini["rows"][0]["row"], **asdict(row.over), "published": row.published}
        for row in mini_rows(record, mini)
        if row.over is not None
    ]
    return {**mini, "differences": compared}


def mini_section(record: TableRecord, mini: dict, title: str, plot: str | None = None) -> Lines:
    """One mini replication as a section of the report; `plot` is the file name of its plot."""
    rows = mini_rows(record, mini)
    columns = [column for column in record.columns if any(column.id in row.published for row in rows)]
    header = [
        "",
        "mIoU, mean ± s.d.",
        "untrained",
        "majority class",
        f"minus {escape(rows[0].label)}",
        "95 % interval",
    ]
    header += [f"published: {escape(column.label)}" for column in columns]
    body = [_line(row, [column.id for column in columns]) for row in rows]
    return [
        f"## {title}",
        "",
        f"{_setting(mini)} {_READ_IT}",
        "",
        *table(header, body),
        "",
        *_statements(rows),
        *(["", f"![Differences to {rows[0].label} with their 95 % intervals]({plot})"] if plot else []),
    ]


def _line(row: MiniRow, columns: Sequence[str]) -> list[str]:
    untrained = f"{fmean(row.untrained):.1f}" if row.untrained else "–"
    cells = [escape(row.label), _mean(row.scores), untrained, f"{row.majority:.1f}"]
    if row.over is None:
        return cells + ["–"] * (2 + len(columns))
    over = row.over
    spread = f" ± {over.deviation:.2f}" if over.deviation is not None else ""
    interval = f"{over.low:+.2f} to {over.high:+.2f}" if over.low is not None else "–"
    return [
        *cells,
        f"{over.mean:+.2f}{spread}",
        interval,
        *(f"{row.published[name]:+.1f}" if name in row.published else "–" for name in columns),
    ]


def _mean(scores: Sequence[float]) -> str:
    return f"{fmean(scores):.2f}" + (f" ± {stdev(scores):.2f}" if len(scores) > 1 else "")


def _setting(mini: dict) -> str:
    """What was done, in a sentence or two."""
    budget = mini.get("budget", {})
    parts = ", ".join(
        f"{name.replace('_', ' ')} {_plain(value)}"
        for name, value in budget.items()
        if name not in ("name", "seeds")  # the scores tell how many seeds there really were
    )
    count = len(mini["rows"][0]["scores"])
    seeds = f"{count} {'seed' if count == 1 else 'seeds'}"
    name = f" (budget `{budget['name']}`)" if "name" in budget else ""
    text = f"Every row trained on `{mini['dataset']}` with the same {seeds}{name}"
    text += f": {parts}." if parts else "."
    if mini.get("wall_seconds") is not None:
        text += f" Trainings and evaluations, added up, took {mini['wall_seconds']:.0f} s"
        text += f" on {mini['device']}." if mini.get("device") else "."
    if mini.get("operators"):
        text += f" Operators: {mini['operators']}; sources: `{mini['code']}`."
    return text


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return "x".join(str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _statements(rows: Sequence[MiniRow]) -> Lines:
    """What the spread allows to say, and how many seeds a difference like the published one takes."""
    lines = []
    for row in rows:
        if row.over is None:
            continue
        published = min((size for size in row.published.values() if size), key=abs, default=None)
        lines.append(f"- {escape(row.label)}: {_told(row.over)}{_needed(row.over, published)}")
    floor = [_floor(row) for row in rows]
    lines.append(
        f"- Every row is above what it scores untrained and above the majority class: {_all(floor)}."
    )
    return lines


def _told(over: Difference) -> str:
    if over.deviation is None:
        return "one seed, so no difference can be told from seed noise at this budget."
    if over.told:
        return f"the difference ({over.mean:+.2f}) can be told from seed noise at this budget."
    return "no difference can be told from seed noise at this budget (the interval holds 0)."


def _needed(over: Difference, published: float | None) -> str:
    if published is None or not over.deviation:
        return ""
    count = seeds_needed(published, over.deviation)
    how_many = f"about {count} seeds" if count else "more than 1000 seeds"
    return (
        f" A difference as small as the published one ({published:+.1f}) would take {how_many} at this budget"
        f" (standard deviation {over.deviation:.2f}; paired t-test, 5 %, power 80 %)."
    )


def _floor(row: MiniRow) -> bool:
    """Whether the worst seed is above the untrained and the majority-class score."""
    return min(row.scores) > max([row.majority, *row.untrained])


def _all(checks: Sequence[bool]) -> str:
    return "yes, with every seed" if all(checks) else f"no, only {sum(checks)} of {len(checks)}"

"""The mini replication in a report: small trainings of every row, shown as differences with their spread."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev

from bench.markdown import Lines, escape, table
from bench.orderings import comparable, published, references, verdict
from bench.spread import Difference, difference, seeds_needed, welch
from tables import TableRecord
from tables.metrics import ACCURACY

_READ_IT = "Compare rows with each other only: a score by itself says nothing about the paper's."


@dataclass(frozen=True, kw_only=True)
class MiniRow:
    """One row of a mini replication, in percent mIoU.

    `over` compares it with the row `reference` (number and label), by Welch's interval, and `paired` by seed;
    None for the reference row itself. `published` maps the accuracy columns to the printed difference of the
    same two rows; those named in `comparable` are orderings that our mIoU can bear out. `same_as` labels the
    earlier row that is the same model when it is small.
    """

    row: int
    label: str
    scores: tuple[float, ...]
    untrained: tuple[float, ...]
    majority: float
    reference: tuple[int, str] | None = None
    over: Difference | None = None
    paired: Difference | None = None
    pairs: tuple[float, ...] = ()
    published: dict[str, float] = field(default_factory=dict)
    comparable: tuple[str, ...] = ()
    same_as: str | None = None

    @property
    def verdicts(self) -> dict[str, str]:
        """What becomes of each published ordering, by column; without those that are printed as ties."""
        if self.over is None or self.same_as:
            return {}
        sizes = {name: self.published.get(name) for name in self.comparable}
        return {name: verdict(size, self.over) for name, size in sizes.items() if size}


def mini_rows(record: TableRecord, mini: dict) -> list[MiniRow]:
    """The rows of a mini result (as `bench.mini.run` gives it), each compared with its reference row."""
    entries = {entry["row"]: entry for entry in mini["rows"]}
    others = references(record, list(entries))
    return [_row(record, entry, entries.get(others.get(number))) for number, entry in entries.items()]


def _row(record: TableRecord, entry: dict, other: dict | None) -> MiniRow:
    same = entry.get("same_as")
    row = MiniRow(
        row=entry["row"],
        label=record.row(entry["row"]).label,
        scores=tuple(entry["scores"]),
        untrained=tuple(entry["untrained"]),
        majority=entry["majority"],
        same_as=None if same is None else record.row(same).label,
    )
    if other is None:
        return row
    accuracy = [column for column in record.columns if column.metric in ACCURACY]
    compared = {
        "reference": (other["row"], record.row(other["row"]).label),
        "over": welch(entry["scores"], other["scores"]),
        "paired": difference(entry["scores"], other["scores"]),
        "pairs": tuple(a - b for a, b in zip(entry["scores"], other["scores"], strict=True)),
        "published": published(record, entry["row"], other["row"], accuracy),
        "comparable": tuple(column.id for column in comparable(record)),
    }
    return MiniRow(**{**vars(row), **compared})


def mini_data(record: TableRecord, mini: dict) -> dict:
    """The mini result with its differences, for the JSON of a report."""
    compared = [
        {
            "row": row.row,
            "over_row": row.reference[0],
            **asdict(row.over),
            "paired": {"deviation": row.paired.deviation, "low": row.paired.low, "high": row.paired.high},
            "published": row.published,
            "verdicts": row.verdicts,
        }
        for row in mini_rows(record, mini)
        if row.over is not None
    ]
    return {**mini, "differences": compared}


def mini_section(record: TableRecord, mini: dict, title: str, plot: str | None = None) -> Lines:
    """One mini replication as a section of the report; `plot` is the file name of its plot."""
    rows = mini_rows(record, mini)
    columns = [column for column in record.columns if any(column.id in row.published for row in rows)]
    common = common_reference(rows)
    header = [
        "",
        "mIoU, mean ± s.d.",
        "untrained",
        "majority class",
        f"minus {escape(common)}" if common else "minus its reference",
        "95 % interval",
        "paired by seed",
        *(f"published: {escape(column.label)}" for column in columns),
        "published order",
    ]
    body = [_line(row, [column.id for column in columns], common) for row in rows]
    return [
        f"## {title}",
        "",
        f"{setting(mini)} {_READ_IT}",
        "",
        *table(header, body),
        "",
        *_statements(rows),
        *(
            ["", f"![Differences to {common or 'reference rows'} with their 95 % intervals]({plot})"]
            if plot
            else []
        ),
    ]


def common_reference(rows: Sequence[MiniRow]) -> str | None:
    """The label of the row that all others are compared with; None where there are several."""
    labels = {row.reference[1] for row in rows if row.reference}
    return labels.pop() if len(labels) == 1 else None


def _line(row: MiniRow, columns: Sequence[str], common: str | None) -> list[str]:
    untrained = f"{fmean(row.untrained):.1f}" if row.untrained else "–"
    cells = [escape(row.label), mean_text(row.scores), untrained, f"{row.majority:.1f}"]
    if row.over is None or row.paired is None or row.reference is None:
        return cells + ["–"] * (4 + len(columns))
    which = "" if common else f" to {escape(row.reference[1])}"
    return [
        *cells,
        f"{row.over.mean:+.2f}{which}",
        interval_text(row.over),
        interval_text(row.paired),
        *(f"{row.published[name]:+.1f}" if name in row.published else "–" for name in columns),
        " / ".join(dict.fromkeys(row.verdicts.values())) or "–",
    ]


def interval_text(found: Difference) -> str:
    """ "-1.48 to +3.48"; a dash without a spread."""
    return f"{found.low:+.2f} to {found.high:+.2f}" if found.low is not None else "–"


def mean_text(scores: Sequence[float]) -> str:
    """ "21.00 ± 1.00", without a spread for one score."""
    return f"{fmean(scores):.2f}" + (f" ± {stdev(scores):.2f}" if len(scores) > 1 else "")


def setting(mini: dict) -> str:
    """What was done, in a few sentences."""
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
    return " ".join([text, *_backbone(mini), *_spent(mini), *_sources(mini)])


def _backbone(mini: dict) -> list[str]:
    backbone = mini.get("backbone")
    if not backbone:
        return []
    file = f" (`{backbone['weights']}`, SHA-256 `{backbone['sha256'][:16]}…`)" if backbone["weights"] else ""
    return [f"Backbone of every row: {backbone['text']}{file}."]


def _spent(mini: dict) -> list[str]:
    if mini.get("wall_seconds") is None:
        return []
    text = f"Trainings and evaluations, added up, took {mini['wall_seconds']:.0f} s"
    if mini.get("cpu_seconds"):
        text += f" ({mini['cpu_seconds']:.0f} s of CPU time)"
    return [text + (f" on {mini['device']}." if mini.get("device") else ".")]


def _sources(mini: dict) -> list[str]:
    if not mini.get("operators"):
        return []
    data = f"; data: `{mini['data_checksum']}`" if mini.get("data_checksum") else ""
    return [f"Operators: {mini['operators']}; sources: `{mini['code']}`{data}."]


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return "x".join(str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _statements(rows: Sequence[MiniRow]) -> Lines:
    """What the spread allows to say, and how many seeds a difference like the published one takes."""
    lines = []
    for row in rows:
        if row.same_as:
            lines.append(f"- {escape(row.label)}: the same model as {escape(row.same_as)} at this size.")
        elif row.over is not None:
            lines.append(f"- {escape(row.label)}: {_told(row.over)}{_needed(row)}")
    floor = [_floor(row) for row in rows]
    lines.append(
        f"- Every row is above what it scores untrained and above the majority class: {_all(floor)}."
    )
    if any(row.over is not None and row.over.low is not None for row in rows):
        lines.append(
            "- The 95 % intervals are Welch's; those paired by seed, beside them, rest on fewer degrees of"
            " freedom. A published order holds, or does not, where Welch's interval leaves out 0."
        )
    return lines


def _told(over: Difference) -> str:
    if over.deviation is None:
        return "one seed, so no difference can be told from seed noise at this budget."
    if over.told:
        return f"the difference ({over.mean:+.2f}) can be told from seed noise at this budget."
    return "no difference can be told from seed noise at this budget (the interval holds 0)."


def _needed(row: MiniRow) -> str:
    """The smallest published difference that our mIoU stands for, and the seeds that it takes."""
    sizes = [row.published[name] for name in row.comparable if row.published.get(name)]
    if not sizes or row.over is None or not row.over.deviation:
        return ""
    size = min(sizes, key=abs)
    return (
        f" A difference as small as the published one ({size:+.1f}) would take {seeds_text(size, row.over)}"
        f" at this budget (standard deviation {row.over.deviation:.2f}; Welch's t-test, 5 %, power 80 %)."
    )


def seeds_text(size: float, found: Difference) -> str:
    """How many seeds a difference of `size` takes: "about 34 seeds"."""
    count = seeds_needed(size, found.deviation or 0.0, rows=2)
    return f"about {count} seeds" if count else "more than 1000 seeds"


def _floor(row: MiniRow) -> bool:
    """Whether the worst seed is above the untrained and the majority-class score."""
    return min(row.scores) > max([row.majority, *row.untrained])


def _all(checks: Sequence[bool]) -> str:
    return "yes, with every seed" if all(checks) else f"no, only {sum(checks)} of {len(checks)}"

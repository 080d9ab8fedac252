"""`mini.md`: which published orderings hold at small scale, from the committed mini runs alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import tables
from bench import plots
from bench.files import atomic_files
from bench.markdown import Lines, escape, table
from bench.orderings import HOLDS, REVERSED, UNTOLD, VERDICTS, Ordering, orderings
from bench.render_mini import interval_text, mean_text, seeds_text, setting
from bench.report import BASELINES, read_baselines
from bench.spread import Difference, seed_effect
from tables import TableRecord

_RULE = f"""\
Every row of a table is trained small, with the same seeds, data, budget and backbone, and scored by its
semantic mIoU. Two rows are compared where a reader would compare them: each row with the table's reference
row (the one its printed differences are from, else the system as it is), and each row with the row above. An
ordering is a printed difference that is not zero, in one column: mIoU where the table prints one, else its
other accuracies.

- **{HOLDS}**: the 95 % interval of our difference leaves out 0, on the published side.
- **{REVERSED}**: it leaves out 0 on the other side.
- **{UNTOLD}**: it includes 0. That is no evidence against the paper: the budget is too small to tell.

The intervals are Welch's: the two rows' trainings are taken for independent, each row with a spread of its
own. The intervals paired by seed are in the reports of the tables.

Neither data nor classes, backbone, widths and length of training are the papers': what does not hold here may
hold there, and the other way round. [bench/mini](../bench/mini/README.md) says how rows are made small and
how the recipe was settled."""


@dataclass(frozen=True, kw_only=True)
class MiniRun:
    """A committed mini run of a table, and what it says of the published orderings."""

    record: TableRecord
    mini: dict
    found: tuple[Ordering, ...]

    @property
    def paper(self) -> str:
        """The paper's name and the table's: "FASeg Table 4"."""
        return f"{tables.paper(self.record.paper).name} {self.record.name}"

    @property
    def trainings(self) -> int:
        """How many trainings the scores are from; rows that are one model were trained once."""
        return sum(len(entry["scores"]) for entry in self.mini["rows"] if "same_as" not in entry)


def read(baselines: Path = BASELINES) -> list[MiniRun]:
    """Every committed mini run. Raises RecordError for a broken one."""
    found = []
    for paper in tables.papers():
        for name in tables.tables(paper):
            record = tables.load(paper, name)
            for mini in read_baselines(record, baselines).values():
                run = MiniRun(record=record, mini=mini, found=tuple(orderings(record, mini)))
                found.append(run)
    return sorted(found, key=lambda run: run.mini["dataset"])


def write(out: Path, baselines: Path = BASELINES) -> Path | None:
    """Writes `out/mini.md` and a plot for each data set; None, and no file, where nothing is committed.

    Raises RecordError.
    """
    runs = read(baselines)
    if not runs:
        return None
    path = Path(out) / "mini.md"
    drawn = {}
    with atomic_files() as stage:
        for dataset in _datasets(runs):
            file, drawing = path.with_name(f"mini_{dataset}.png"), _drawing(runs, dataset)
            if drawing is None:
                continue
            drawn[dataset] = file.name
            if not drawing.is_in(file):
                drawing.save(stage(file))
        stage(path).write_bytes(page(runs, drawn).encode("utf-8"))
    return path


def _datasets(runs: Sequence[MiniRun]) -> list[str]:
    return list(dict.fromkeys(run.mini["dataset"] for run in runs))


def _drawing(runs: Sequence[MiniRun], dataset: str) -> plots.Drawing | None:
    """Every pair of rows that is compared on a data set, with all that is published of it."""
    lines: dict[tuple, tuple[str, str, Difference, list[float]]] = {}
    for run in runs:
        for ordering in run.found if run.mini["dataset"] == dataset else ():
            label = f"{run.paper}:  {_short(run, ordering.row)}  against  {_short(run, ordering.other)}"
            key = (run.paper, ordering.row, ordering.other)
            lines.setdefault(key, (label, ordering.verdict, ordering.found, []))[3].append(ordering.published)
    return plots.orderings_drawing(list(lines.values()))


def _short(run: MiniRun, row: int, most: int = 32) -> str:
    label = run.record.row(row).label
    return label if len(label) <= most else f"{label[: most - 1]}…"


def page(runs: Sequence[MiniRun], drawn: Mapping[str, str]) -> str:
    """The page as Markdown; `drawn` are the files of the plots by data set."""
    parts = [f"**{headline(runs)}**", "# What holds at small scale", _RULE, "\n".join(totals(runs))]
    for dataset in _datasets(runs):
        chosen = [run for run in runs if run.mini["dataset"] == dataset]
        parts += [f"## On `{dataset}`", conclusions(chosen), precision(chosen)]
        if dataset in drawn:
            parts.append(f"![Differences between rows on {dataset}, ours and published]({drawn[dataset]})")
        lines = [every_ordering(chosen), seeds(chosen), scores(chosen), spent(chosen)]
        parts += ["\n".join(found) for found in lines]
    return "\n\n".join(filter(None, parts)) + "\n"


def _counts(runs: Sequence[MiniRun]) -> Counter:
    return Counter(ordering.verdict for run in runs for ordering in run.found)


def headline(runs: Sequence[MiniRun]) -> str:
    """One sentence of totals."""
    counts = _counts(runs)
    hold = "holds" if counts[HOLDS] == 1 else "hold"
    do_not = "does not" if counts[REVERSED] == 1 else "do not"
    return (
        f"Of {counts.total()} published orderings, {counts[HOLDS]} {hold} at small scale, {counts[REVERSED]}"
        f" {do_not}, and {counts[UNTOLD]} cannot be told at these budgets."
    )


def totals(runs: Sequence[MiniRun]) -> Lines:
    """A line for each run: verdicts, trainings, time."""
    body = []
    for run in runs:
        counts, mini = _counts([run]), run.mini
        file = f"{run.record.paper}/table{run.record.table}.md"
        body.append(
            [
                f"[{run.paper}]({file})",
                f"`{mini['dataset']}`",
                *(str(counts[verdict]) for verdict in VERDICTS),
                _same_side(run.found),
                str(run.trainings),
            ]
        )
    header = ["table", "data", *VERDICTS, "means on the published side", "trainings"]
    return table(header, body)


def _same_side(found: Sequence[Ordering]) -> str:
    agree = sum(ordering.found.mean * ordering.published > 0 for ordering in found)
    return f"{agree} of {len(found)}" if found else "–"


def conclusions(runs: Sequence[MiniRun]) -> str:
    """What may be concluded, a paragraph for each verdict that occurs."""
    parts = []
    for verdict in VERDICTS:
        chosen = [(run, ordering) for run in runs for ordering in run.found if ordering.verdict == verdict]
        if not chosen:
            continue
        if verdict != UNTOLD:
            told = "\n".join(f"- {_sentence(run, ordering)}" for run, ordering in chosen)
            parts.append(f"What {verdict}:\n\n{told}")
            continue
        excluded = sum(not ordering.found.holds(ordering.published) for _, ordering in chosen)
        parts.append(
            f"{len(chosen)} {verdict}. For {excluded} of them our interval all the same leaves out a"
            " difference as large as the published one: here it is smaller, or has the other sign."
        )
    return "\n\n".join(parts)


def _sentence(run: MiniRun, ordering: Ordering) -> str:
    return (
        f"{run.paper}: {_pair(run, ordering)}: {ordering.found.mean:+.2f}"
        f" ({interval_text(ordering.found)}), published {ordering.published:+.1f}"
        f" in {escape(ordering.column.label)}."
    )


def _pair(run: MiniRun, ordering: Ordering) -> str:
    row, other = (escape(run.record.row(number).label) for number in (ordering.row, ordering.other))
    return f"“{row}” over “{other}”"


def every_ordering(runs: Sequence[MiniRun]) -> Lines:
    """A line for each ordering."""
    body = [
        [
            run.paper,
            _pair(run, ordering),
            f"{ordering.published:+.1f} ({escape(ordering.column.label)})",
            f"{ordering.found.mean:+.2f}",
            interval_text(ordering.found),
            ordering.verdict,
            _needed(ordering),
        ]
        for run in runs
        for ordering in run.found
    ]
    header = ["table", "rows", "published", "ours", "95 % interval", "the order", "seeds that it takes"]
    note = "Seeds that it takes: Welch's t-test, 5 %, power 80 %, were the published difference the true one."
    return [*table(header, body), "", note] if body else []


def _needed(ordering: Ordering) -> str:
    if not ordering.found.deviation:
        return "–"
    return seeds_text(ordering.published, ordering.found).removesuffix(" seeds")


def precision(runs: Sequence[MiniRun]) -> str:
    """How fine these runs can tell, beside how small the published differences are, and what chance does."""
    found = {(run.paper, o.row, o.other): o.found for run in runs for o in run.found}
    halves = [(over.high - over.low) / 2 for over in found.values() if over.low is not None]
    if not halves:
        return "With one seed nothing can be told."
    sizes = [abs(ordering.published) for run in runs for ordering in run.found]
    told = sum(over.told for over in found.values())
    return (
        f"Half of our intervals reach more than {median(halves):.1f} points to either side of the mean; half"
        f" of the published differences are below {median(sizes):.1f} points. The orderings are about"
        f" {len(found)} differences between rows, and the intervals of {told} leave out 0. If no row differed"
        f" from any other, about {0.05 * len(found):.1f} would by chance: read a single verdict accordingly."
    )


def seeds(runs: Sequence[MiniRun]) -> Lines:
    """Whether a seed moves all rows of a table alike, which is what pairing by seed would use."""
    body = []
    for run in runs:
        effect = seed_effect([entry["scores"] for entry in run.mini["rows"] if "same_as" not in entry])
        if effect is not None:
            body.append([run.paper, f"{effect.correlation:+.2f}", f"{effect.chance:.2f}"])
    if not body:
        return []
    header = ["table", "correlation of two rows over the seeds", "chance of one as large (F test)"]
    note = (
        "With one seed, all rows see the same crops of the same images in the same order, and start from"
        " weights of their own. Does that move the rows of a table alike, so that pairing by seed would gain?"
    )
    return [note, "", *table(header, body)]


def spent(runs: Sequence[MiniRun]) -> Lines:
    """What was run, on what, for how long, and the command."""
    lines = ["Runs; a row that several tables share was trained once, and its time is in each of them:", ""]
    for run in runs:
        mini = run.mini
        lines.append(f"- {run.paper}: `{command(run)}`. {setting(mini)}")
    return lines


def command(run: MiniRun) -> str:
    """The command that makes the run again."""
    mini, record = run.mini, run.record
    words = ["python -m bench table", record.paper, record.table, "--evidence mini"]
    if mini["dataset"] != "embedded":
        words.append(f"--mini-data {mini['dataset']} --root DIR")
    words.append(f"--budget {mini['budget']['name']} --seeds {len(mini['rows'][0]['scores'])}")
    if (mini.get("backbone") or {}).get("weights"):
        words.append("--backbone-weights FILE")
    return " ".join([*words, "--save-baseline"])


def scores(runs: Sequence[MiniRun]) -> Lines:
    """A line for each row: scores and floors."""
    body = [
        [
            run.paper,
            escape(run.record.row(entry["row"]).label),
            mean_text(entry["scores"]),
            f"{fmean(entry['untrained']):.1f}" if entry["untrained"] else "–",
            f"{entry['majority']:.1f}",
        ]
        for run in runs
        for entry in run.mini["rows"]
    ]
    header = ["table", "row", "mIoU, mean ± s.d.", "untrained", "majority class"]
    return table(header, body)

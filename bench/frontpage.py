"""The front page of the reports: every table of every paper with its verdict counts."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tables
from bench import plots
from bench.compare import CONTRADICTED, EQUAL, MEANING, NEAR, OUTSIDE
from bench.errors import UserError
from bench.files import atomic_files
from bench.markdown import Lines, escape, table
from tables import TableRecord

_TITLE = "# Reports\n"

_INTRODUCTION = f"""\
{_TITLE}
Do the published numbers hold? Every report sets each printed cell of a table beside the number we obtained.
Written by `python -m bench table PAPER TABLE`; this page by `python -m bench report`."""

_WORST = 15
_SHORT = 320  # characters of a reason on this page
_FIELDS = ("verdict", "evidence", "published_value", "published", "measured", "metric", "row_label")


@dataclass(frozen=True, kw_only=True)
class Report:
    """A table of the record with the JSON of its report, None where it has none."""

    record: TableRecord
    data: dict | None

    @property
    def cells(self) -> list[dict]:
        """The cells of the report."""
        return self.data["cells"] if self.data else []

    @property
    def link(self) -> str:
        """The table's name, linked to its report if there is one."""
        file = f"{self.record.paper}/table{self.record.table}.md"
        return f"[{self.record.name}]({file})" if self.data else self.record.name

    @property
    def label(self) -> str:
        """The linked name with its paper."""
        return f"{tables.paper(self.record.paper).name} {self.link}"


def write(out: Path) -> Path:
    """Writes `out/README.md` and a plot for each paper, from the reports in `out`.

    Raises UserError for a broken report, and for a README.md that is something else's.
    """
    path, out = require_ours(out), Path(out)
    reports = read(out)
    with atomic_files() as stage:
        drawn = {
            paper: name
            for paper, found in _by_paper(reports).items()
            if (name := _plot(out, paper, found, stage)) is not None
        }
        stage(path).write_bytes(page(out, reports, drawn).encode("utf-8"))
    return path


def require_ours(out: Path) -> Path:
    """The path of the front page in `out`. Raises UserError if the file there is another README."""
    path = Path(out) / "README.md"
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(_TITLE):
        raise UserError(f"{path} is no front page of reports and would be overwritten; choose another --out")
    return path


def read(out: Path) -> list[Report]:
    """Every table of the record with its report. Raises UserError for a broken report."""
    found = []
    for paper in tables.papers():
        for name in tables.tables(paper):
            file = Path(out) / paper / f"table{name}.json"
            record = tables.load(paper, name)
            found.append(Report(record=record, data=_read(file) if file.is_file() else None))
    return found


def _read(file: Path) -> dict:
    """A JSON report; only some fields of its cells and its mini rows are used here."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        _ = [cell[name] for cell in data["cells"] for name in _FIELDS]
        _ = len(data.get("mini", {"rows": []})["rows"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: not a report of this program; delete it or write it anew") from None
    return data


def _by_paper(reports: Sequence[Report]) -> dict[str, list[Report]]:
    found: dict[str, list[Report]] = {}
    for report in reports:
        found.setdefault(report.record.paper, []).append(report)
    return found


def _plot(out: Path, paper: str, reports: list[Report], stage) -> str | None:  # noqa: ANN001
    """Draws the counted cells of a paper; gives the file's name in `out`, None where nothing is counted."""
    cells = [cell for report in reports for cell in report.cells]
    drawing = plots.paper_drawing(tables.paper(paper).name, cells)
    if drawing is None:
        return None
    file = out / paper / "counted.png"
    if not drawing.is_in(file):
        drawing.save(stage(file))
    return f"{paper}/{file.name}"


def page(out: Path, reports: Sequence[Report], plots_of: dict[str, str]) -> str:
    """The front page as Markdown."""
    legend = " · ".join(f"`{sign}` {meaning}" for sign, meaning in MEANING.items())
    sections = [
        _INTRODUCTION,
        *_audit(out),
        "\n".join(papers_matrix(reports)),
        legend + ".",
        "\n".join(cautions(reports)),
        "\n".join(by_evidence(reports)),
        "\n".join(worst(reports)),
        "\n".join(predictions(reports)),
        *("\n".join(one_paper(found, plots_of.get(paper))) for paper, found in _by_paper(reports).items()),
        *_others(Path(out)),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def papers_matrix(reports: Sequence[Report]) -> Lines:
    """A line for each paper: what became of its cells, and the share of the counted ones that is equal."""
    body = []
    groups = {tables.paper(paper).name: found for paper, found in _by_paper(reports).items()}
    for name, found in {**groups, "all": list(reports)}.items():
        cells = [cell for report in found for cell in report.cells]
        written = sum(report.data is not None for report in found)
        body.append(
            [name, f"{written} of {len(found)}", str(len(cells)), *_signs(cells), _share(cells, "counted")]
        )
    header = ["", "reports", "cells", *(f"`{sign}`" for sign in MEANING), "counted cells equal"]
    return table(header, body)


def _signs(cells: Sequence[dict]) -> list[str]:
    counts = Counter(cell["verdict"] for cell in cells)
    return [str(counts[sign]) for sign in MEANING]


def cautions(reports: Sequence[Report]) -> Lines:
    """What a reader of the matrix must know of single papers."""
    papers = [tables.paper(paper) for paper in _by_paper(reports)]
    return [f"- **{paper.name}**: {paper.caution}" for paper in papers if paper.caution]


def _share(cells: Sequence[dict], kind: str) -> str:
    run = [cell for cell in cells if cell["evidence"] == kind and cell["measured"] is not None]
    equal = sum(cell["verdict"] == EQUAL for cell in run)
    return f"{equal} of {len(run)} ({100 * equal / len(run):.1f} %)" if run else "–"


def by_evidence(reports: Sequence[Report]) -> Lines:
    """A line for each kind of evidence."""
    cells = [cell for report in reports for cell in report.cells]
    kinds = dict.fromkeys(cell["evidence"] for cell in cells)
    body = [
        [f"`{kind}`", str(len(of)), *_signs(of), _share(of, kind)]
        for kind in kinds
        for of in [[cell for cell in cells if cell["evidence"] == kind]]
    ]
    header = ["evidence", "cells", *(f"`{sign}`" for sign in MEANING), "equal of those run"]
    return ["## By evidence", "", *table(header, body)] if body else []


def worst(reports: Sequence[Report]) -> Lines:
    """The cells that are farthest from print, relative to it. Settings, which are chosen, predictions, which
    have a table of their own, and speeds, which are those of another device, are not among them.
    """
    found = []
    for report in reports:
        for cell in report.cells:
            differs = cell["verdict"] in (NEAR, OUTSIDE, CONTRADICTED) and cell["measured"] is not None
            apart = cell["evidence"] in ("configured", "predicted", "measured")
            if differs and not apart and cell["published_value"]:
                share = (cell["measured"] / cell["published_value"] - 1) * 100
                found.append((share, report, cell))
    if not found:
        return []
    found.sort(key=lambda item: -abs(item[0]))
    body = [
        [
            report.label,
            f"{escape(cell['row_label'])}, {escape(cell.get('column_label') or cell['metric'])}",
            _with_unit(cell),
            f"{cell['measured']:.6g}",
            f"{share:+.1f} % `{cell['verdict']}`",
            escape(_in_short(cell.get("reason") or "not explained yet")),
        ]
        for share, report, cell in found[:_WORST]
    ]
    header = ["table", "cell", "printed", "ours", "difference", "why"]
    title = f"## The {len(body)} largest disagreements, settings, predictions and speeds apart"
    return [title, "", *table(header, body)]


def predictions(reports: Sequence[Report]) -> Lines:
    """How far the predictions of each table are from print, by each protocol."""
    names: dict[str, None] = {}
    body = []
    for report in reports:
        errors: dict[str, list[float]] = {}
        for cell in report.cells:
            if cell["evidence"] != "predicted" or cell["measured"] is None:
                continue
            for name, ours in {cell["protocol"]: cell["measured"], **cell.get("also", {})}.items():
                errors.setdefault(name, []).append((ours / cell["published_value"] - 1) * 100)
        names |= dict.fromkeys(errors)
        if errors:
            body.append((report.label, errors))
    if not body:
        return []
    lines = [
        [label, str(max(map(len, errors.values()))), *(_range(errors.get(name)) for name in names)]
        for label, errors in body
    ]
    header = ["table", "cells", *(f"`{name}`" for name in names)]
    note = "Ours against print, from the nearest cell to the farthest; the reports say what explains it."
    return ["## Predicted training memory", "", *table(header, lines), "", note]


def _range(errors: Sequence[float] | None) -> str:
    if not errors:
        return "–"
    ends = [f"{error:+.1f} %".replace("-0.0", "0.0").replace("+0.0", "0.0") for error in errors]
    near, far = (pick(zip(map(abs, errors), ends, strict=True))[1] for pick in (min, max))
    return near if near == far else f"{near} to {far}"


def _in_short(reason: str) -> str:
    """The first sentences of a reason; the report has the rest."""
    if len(reason) <= _SHORT:
        return reason
    end = reason.rfind(". ", 0, _SHORT)
    return f"{reason[: end + 1] if end > 0 else reason[:_SHORT]} …"


def _with_unit(cell: dict) -> str:
    """The number as printed, and its unit where it was not printed with it."""
    unit = cell.get("unit", "")
    return escape(cell["published"] if cell["published"].endswith(unit) else f"{cell['published']} {unit}")


def one_paper(reports: Sequence[Report], plot: str | None) -> Lines:
    """A line for each table of a paper."""
    name = tables.paper(reports[0].record.paper).name
    body = []
    for report in reports:
        signs = _signs(report.cells) if report.data else ["–"] * len(MEANING)
        share = _share(report.cells, "counted")
        body.append([report.link, escape(report.record.title), *signs, share, _mini(report.data or {})])
    header = ["table", "", *(f"`{sign}`" for sign in MEANING), "counted equal", "mini"]
    picture = ["", f"![Counted cells of {name}, published and ours]({plot})"] if plot else []
    return [f"## {name}", "", *table(header, body), *picture]


def _mini(data: dict) -> str:
    """How many rows were trained small: for the report, and on other data sets before."""
    runs = [f"{len(data['mini']['rows'])} rows"] if "mini" in data else []
    for dataset, mini in data.get("mini_baselines", {}).items():
        if dataset != "embedded":
            runs.append(f"{len(mini['rows'])} rows on {dataset}")
    return "; ".join(runs) or "–"


def _audit(out: Path) -> list[str]:
    """The first line of the audit, where there is one."""
    file = Path(out) / "audit.md"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    headline = next((line.strip("* ") for line in lines if line.startswith("**")), None)
    return [f"[The audit]({file.name}) of the papers' own arithmetic{f': {headline}' if headline else '.'}"]


def _others(out: Path) -> list[str]:
    """Links to the reports that belong to no printed table, such as those on other data."""
    names = ("mini.md", "mini/*.md", "performance.md")
    files = [file for name in names for file in sorted(out.glob(name))]
    if not files:
        return []
    links = [f"- [{file.stem}]({file.relative_to(out).as_posix()})" for file in files]
    return ["## Further reports", "\n".join(links)]

"""The front page of the reports: every table of every paper with its verdict counts."""

import json
from collections import Counter
from pathlib import Path

import tables
from bench.compare import MEANING
from bench.errors import UserError
from bench.files import atomic_write
from bench.render_markdown import table

_TITLE = "# Reports\n"

_INTRODUCTION = f"""\
{_TITLE}
Do the published numbers hold? Every report sets each printed cell of a table beside the number we obtained.
Written by `python -m bench table PAPER TABLE`; this page by `python -m bench report`."""


def write(out: Path) -> Path:
    """Writes `out/README.md` from the reports in `out`.

    Raises UserError for a broken report, and for a README.md that is something else's.
    """
    path = require_ours(out)
    atomic_write(path, page(Path(out)))
    return path


def require_ours(out: Path) -> Path:
    """The path of the front page in `out`. Raises UserError if the file there is another README."""
    path = Path(out) / "README.md"
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(_TITLE):
        raise UserError(f"{path} is no front page of reports and would be overwritten; choose another --out")
    return path


def page(out: Path) -> str:
    """The front page as Markdown: a line for each table of the record, with or without a report."""
    body = [_line(out, paper, name) for paper in tables.papers() for name in tables.tables(paper)]
    header = ["table", "", *(f"`{sign}`" for sign in MEANING), "mini"]
    legend = " · ".join(f"`{sign}` {meaning}" for sign, meaning in MEANING.items())
    more = _others(out)
    sections = [_INTRODUCTION, "\n".join(table(header, body)), legend + ".", *more]
    return "\n\n".join(sections) + "\n"


def _line(out: Path, paper: str, name: str) -> list[str]:
    record = tables.load(paper, name)
    label = f"{tables.paper(paper).name} Table {name}"
    file = out / paper / f"table{name}.json"
    if not file.is_file():
        return [label, record.title, *["–"] * (len(MEANING) + 1)]
    data = _read(file)
    counts = Counter(cell["verdict"] for cell in data["cells"])
    mini = f"{len(data['mini']['rows'])} rows" if "mini" in data else "–"
    return [
        f"[{label}]({paper}/table{name}.md)",
        record.title,
        *(str(counts[sign]) for sign in MEANING),
        mini,
    ]


def _read(file: Path) -> dict:
    """A JSON report; only its cells' verdicts and its mini rows are used here."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        _ = [cell["verdict"] for cell in data["cells"]], len(data.get("mini", {"rows": []})["rows"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: not a report of this program; delete it or write it anew") from None
    return data


def _others(out: Path) -> list[str]:
    """Links to the reports that belong to no printed table, such as those on other data."""
    files = sorted(out.glob("mini/*.md"))
    if not files:
        return []
    links = [f"- [{file.stem}]({file.parent.name}/{file.name})" for file in files]
    return ["## Further reports", "\n".join(links)]

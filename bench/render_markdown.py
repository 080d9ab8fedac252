"""The Markdown of a report: a function a section, each giving lines."""

from collections.abc import Sequence

import tables
from bench.cells import CellResult
from bench.compare import NOT_RUN
from bench.markdown import Lines, escape, table
from bench.render import verdict_line
from bench.render_cells import counts_in_full, differences, paper_table, predictions
from bench.render_said import claims, mentions
from bench.render_weights import weights
from tables import Row, TableRecord

_OF_THE_TABLE = ("configured", "predicted", "measured")  # what one command obtains for all rows
_PLACES = {
    " DIR": "DIR is the folder of the data set; `python -m bench data` says what belongs in it.",
    " FILE": "FILE holds the backbone's ImageNet weights; they keep their own licence.",
    "--accept-licence": "`--weights released` downloads what the authors published, and `--accept-licence` "
    "accepts its licence, which is told without it.",
}


def markdown(
    record: TableRecord,
    results: Sequence[CellResult],
    mini: Sequence[Lines] = (),
    plot: str | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """The whole report. `mini`: sections of mini replications; `plot`: file name of the counted plot."""
    sections = [
        head(record, results),
        paper_table(record, results),
        [f"![Published numbers and ours]({plot})"] if plot else [],
        differences(results),
        weights(results),
        counts_in_full(record, results),
        predictions(results),
        claims(record, results),
        mentions(record, results),
        *mini,
        deviations(record),
        not_run(results),
        rows(record),
        commands(record, results),
        environment_box(environment or {}),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def head(record: TableRecord, results: Sequence[CellResult]) -> Lines:
    """The verdict first, then which table of which paper this is."""
    paper = tables.paper(record.paper)
    source = f"{paper.authors}: *{paper.title}*, {paper.venue}, {record.source}."
    return [
        f"**{verdict_line(record, results)}**",
        "",
        f"# {paper.name} {record.name}: {record.title}",
        "",
        source,
    ]


def deviations(record: TableRecord) -> Lines:
    """Where we knowingly do something else than the text, or had to choose."""
    return ["## Deviations", "", *(f"- {text}" for text in record.deviations)] if record.deviations else []


def not_run(results: Sequence[CellResult]) -> Lines:
    """The cells without a number and without a command, by the reason why."""
    reasons: dict[str, dict[str, None]] = {}
    for result in results:
        built = result.column.preset_key in result.row.preset
        if result.verdict == NOT_RUN and result.command is None and built:
            reasons.setdefault(result.reason, {})[escape(result.column.label)] = None
    lines = [f"- {', '.join(columns)}: {reason}." for reason, columns in reasons.items()]
    return ["## What no command obtains yet", "", *lines] if lines else []


def rows(record: TableRecord) -> Lines:
    """How each row is built."""
    lines = ["## How each row is built", ""]
    for row in record.rows:
        whose = f"{row.provenance}{_differs(row)}"
        lines.append(f"{row.number}. **{escape(row.label)}** ({whose}): {_made_of(row)}")
        lines.extend(f"   {note}" for note in row.notes)
    return lines


def _differs(row: Row) -> str:
    """The provenance of those cells that have their own."""
    others: dict[str, list[str]] = {}
    for cell in row.cells.values():
        if cell.printed is not None and cell.provenance != row.provenance:
            others.setdefault(cell.provenance, []).append(cell.text)
    return "".join(f"; {kind}: {', '.join(texts)}" for kind, texts in others.items())


def _made_of(row: Row) -> str:
    if not row.preset:
        return _sentence(row.unbuildable or "a quoted number, not built here")
    presets = ", ".join(f"`{name}`" for name in dict.fromkeys(row.preset.values()))
    overrides = ", ".join(f"`{path} = {_toml(value)}`" for path, value in row.overrides.items())
    variant = f", variant `{row.variant}`" if row.variant else ""
    return f"{presets}{' with ' + overrides if overrides else ''}{variant}."


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else '"none"' if value is None else str(value)


def commands(record: TableRecord, results: Sequence[CellResult]) -> Lines:
    """The commands that regenerate each row, each once."""
    lines, shown = [], set()
    whole = dict.fromkeys(r.command for r in results if r.command and r.evidence in _OF_THE_TABLE)
    if whole:
        lines.extend(["# all rows", *whole])
        shown.update(whole)
    for row in record.rows:
        found = dict.fromkeys(r.command for r in results if r.row is row and r.command)
        new = [command for command in found if command not in shown]
        shown.update(new)
        if new:
            lines.extend([f"# {row.label}", *new])
    if record.mini is not None:
        kinds = "counted,configured,predicted,mini"
        mini = f"python -m bench table {record.paper} {record.table} --evidence {kinds}"
        lines.extend(["# the mini replication: every row that can be built, trained small", mini])
    if not lines:
        return ["## Commands", "", "None: nothing in this table can be obtained here."]
    notes = [note for word, note in _PLACES.items() if any(word in line for line in lines)]
    places = ["", " ".join(notes)] if notes else []
    return ["## Commands", "", "```sh", *lines, "```", *places]


def environment_box(environment: dict[str, str]) -> Lines:
    """The only part of a report that depends on when and where it was made."""
    body = [[name, escape(str(value))] for name, value in environment.items()]
    return ["## Environment", "", *table(["", ""], body)] if body else []

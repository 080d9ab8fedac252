"""The Markdown of a report: a function a section, each giving lines."""

from collections.abc import Sequence
from decimal import Decimal

import tables
from bench.cells import CellResult
from bench.compare import EQUAL, MEANING, NOT_RUN, OUTSIDE, as_printed, rounded
from bench.render import tolerance_text, verdict_line
from tables import Claim, Row, TableRecord

Lines = list[str]

_PLACES = (
    "DIR is the folder of the data set; `python -m bench data` says what belongs in it. FILE holds the "
    "backbone's ImageNet weights in timm's layout; they keep their own licence."
)


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
        counts_in_full(record, results),
        claims(record, results),
        *mini,
        deviations(record),
        rows(record),
        commands(results),
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
        f"# {paper.name} Table {record.table}: {record.title}",
        "",
        source,
    ]


def paper_table(record: TableRecord, results: Sequence[CellResult]) -> Lines:
    """The paper's rows and columns, each cell `ours (published) verdict`."""
    found = {(result.row.number, result.column.id): result for result in results}
    body = []
    for row in record.rows:
        cells = [found.get((row.number, column.id)) for column in record.columns]
        body.append([escape(row.label), *(_cell(cell) if cell else "–" for cell in cells)])
    header = ["", *(escape(column.label) for column in record.columns)]
    seen = dict.fromkeys(result.verdict for result in results)
    legend = " · ".join(f"`{sign}` {meaning}" for sign, meaning in MEANING.items() if sign in seen)
    note = f"Each cell: ours (published) verdict. {legend}. Evidence: {_evidence(results)}."
    return [*table(header, body), "", note]


def _evidence(results: Sequence[CellResult]) -> str:
    """Which columns have which kind of evidence."""
    labels: dict[str, dict[str, None]] = {}
    for result in results:
        labels.setdefault(result.evidence, {})[escape(result.column.label)] = None
    return "; ".join(f"`{kind}` for {', '.join(columns)}" for kind, columns in labels.items())


def _cell(result: CellResult) -> str:
    ours = "–" if result.measured is None else as_printed(result.measured, result.cell.printed.decimals)
    return f"{ours} ({result.cell.text}) `{result.verdict}`"


def differences(results: Sequence[CellResult]) -> Lines:
    """What differs and why."""
    lines = []
    for result in results:
        if result.verdict in (EQUAL, NOT_RUN):
            continue
        column, published = result.column, result.cell.printed.value
        text = f"- **{escape(result.row.label)}, {escape(column.label)}** `{result.verdict}`"
        if result.measured is not None:
            share = result.delta / published * 100
            text += f": ours {rounded(result.measured, 3)}, published {result.cell.text}"
            text += f" ({share:+.1f} %; tolerance {tolerance_text(result)})."
        lines.append(f"{text} {result.cell.reason or 'Not explained yet.'}")
    return [
        "## What differs, and why",
        "",
        *(lines or ["Nothing that was run differs at the printed precision."]),
    ]


def counts_in_full(record: TableRecord, results: Sequence[CellResult]) -> Lines:
    """The counted cells unrounded, and the second protocol of those that have one."""
    counted = [result for result in results if result.measured is not None and result.evidence == "counted"]
    columns = [column for column in record.columns if any(result.column is column for result in counted)]
    header, body = [""], {row.number: [escape(row.label)] for row in record.rows}
    for column in columns:
        for protocol in filter(None, (column.protocol, column.also)):
            header.append(f"{escape(column.label)}<br>`{protocol}`")
            numbers = {
                r.row.number: {r.column.protocol: r.measured, **r.also} for r in counted if r.column is column
            }
            for row in record.rows:
                body[row.number].append(_in_full(numbers.get(row.number, {}).get(protocol), column.unit))
    if not columns:
        return []
    sizes = dict.fromkeys(f"{c.label}: one image of {c.size[0]}x{c.size[1]}" for c in columns if c.size)
    note = f" {escape('; '.join(sizes))}." if sizes else ""
    return [
        "## Counts in full",
        "",
        *table(header, list(body.values())),
        "",
        f"Published cells are compared with the protocol named first.{note}",
        *_uncounted(counted),
    ]


def _uncounted(results: Sequence[CellResult]) -> Lines:
    """The operators that the counts lack, if any: they are listed, never dropped."""
    return [
        f"- {escape(result.row.label)}, {escape(result.column.label)} lacks `{operator}` ({calls} calls): "
        "nobody has written a formula for it."
        for result in results
        for operator, calls in result.uncounted.items()
    ]


def _in_full(value: Decimal | None, unit: str) -> str:
    """Parameters to the last one, FLOPs to a million."""
    if value is None:
        return "–"
    return f"{value:,.6f}" if unit == "M" else f"{value:,.3f}"


def claims(record: TableRecord, results: Sequence[CellResult]) -> Lines:
    """What the paper's text says about the table, against its own numbers and against ours."""
    measured = {(result.row.number, result.column.id): result.measured for result in results}
    body = [_claim(record, claim, measured) for claim in record.claims]
    header = ["where", "the text says", "the printed cells give", "ours"]
    return ["## What the text says about it", "", *table(header, body)] if body else []


def _claim(record: TableRecord, claim: Claim, measured: dict) -> list[str]:
    row, other, column = record.row(claim.row), record.row(claim.minus), record.column(claim.column)
    printed = [part.cells[column.id].printed for part in (row, other)]
    from_cells = printed[0].value - printed[1].value if all(printed) else None
    ours = [measured.get((part.number, column.id)) for part in (row, other)]
    from_ours = ours[0] - ours[1] if None not in ours else None
    text = f"{escape(row.label)} over {escape(other.label)}, {escape(column.label)}: {claim.value.value:+}"
    return [claim.where, text, _against(from_cells, claim), _against(from_ours, claim)]


def _against(value: Decimal | None, claim: Claim) -> str:
    if value is None:
        return "– `.`"
    shown = rounded(value, claim.value.decimals)
    return f"{shown:+} `{EQUAL if shown == claim.value.value else OUTSIDE}`"


def deviations(record: TableRecord) -> Lines:
    """Where we knowingly do something else than the text, or had to choose."""
    return ["## Deviations", "", *(f"- {text}" for text in record.deviations)] if record.deviations else []


def rows(record: TableRecord) -> Lines:
    """How each row is built."""
    lines = ["## How each row is built", ""]
    for row in record.rows:
        lines.append(f"{row.number}. **{escape(row.label)}** ({row.provenance}): {_made_of(row)}")
        lines.extend(f"   {note}" for note in row.notes)
    return lines


def _made_of(row: Row) -> str:
    if not row.preset:
        return row.unbuildable or "a quoted number, not built here."
    presets = ", ".join(f"`{name}`" for name in dict.fromkeys(row.preset.values()))
    overrides = ", ".join(f"`{path} = {_toml(value)}`" for path, value in row.overrides.items())
    variant = f", variant `{row.variant}`" if row.variant else ""
    return f"{presets}{' with ' + overrides if overrides else ''}{variant}."


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def commands(results: Sequence[CellResult]) -> Lines:
    """The commands that regenerate each row."""
    lines = ["## Commands", "", "```sh"]
    for label in dict.fromkeys(result.row.label for result in results):
        found = dict.fromkeys(r.command for r in results if r.row.label == label and r.command)
        lines.extend([f"# {label}", *found])
    return [*lines, "```", "", _PLACES]


def environment_box(environment: dict[str, str]) -> Lines:
    """The only part of a report that depends on when and where it was made."""
    body = [[name, escape(str(value))] for name, value in environment.items()]
    return ["## Environment", "", *table(["", ""], body)] if body else []


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> Lines:
    """A Markdown table; columns after the first are centred."""
    marks = [":--", *[":-:"] * (len(header) - 1)]
    return [f"| {' | '.join(line)} |" for line in (header, marks, *body)]


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in ("\\", "|", "*", "_", "#", "<"):
        text = text.replace(mark, "\\" + mark)
    return text

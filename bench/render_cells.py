"""The paper's table with our numbers in it, what differs, and the counts in full."""

from collections.abc import Sequence
from decimal import Decimal

from bench.cells import CellResult
from bench.compare import EQUAL, MEANING, NOT_RUN, as_printed, rounded
from bench.markdown import Lines, escape, table
from bench.render import tolerance_text
from bench.render_weights import mixed
from tables import TableRecord

_UNEXPLAINED = "Not explained yet."


def paper_table(record: TableRecord, results: Sequence[CellResult]) -> Lines:
    """The paper's lines and columns, each cell `ours (published) verdict`."""
    columns = [part.label for part in (record.rows if record.sideways else record.columns)]
    places: dict[tuple[int, int], list[str]] = {}
    for result in results:
        at = result.row.number - 1 if record.sideways else record.columns.index(result.column)
        places.setdefault((result.line, at), []).append(_cell(result))
    body = [
        [escape(label), *(" / ".join(places.get((number, at), ["–"])) for at in range(len(columns)))]
        for number, label in _lines(record)
    ]
    seen = dict.fromkeys(result.verdict for result in results)
    legend = " · ".join(f"`{sign}` {meaning}" for sign, meaning in MEANING.items() if sign in seen)
    note = f"Each cell: ours (published) verdict. {legend}. Evidence: {_evidence(results)}.{mixed(results)}"
    return [*table(["", *map(escape, columns)], body), "", note]


def _lines(record: TableRecord) -> list[tuple[int, str]]:
    """Numbers and labels of the printed lines; columns of the record that share one are named together."""
    found: dict[int, dict[str, None]] = {}
    for row in record.rows:
        for column in record.columns:
            number, label = record.line(row, column)
            found.setdefault(number, {})[label] = None
    return [(number, ", ".join(labels)) for number, labels in sorted(found.items())]


def _evidence(results: Sequence[CellResult]) -> str:
    """Which columns have which kind of evidence."""
    labels: dict[str, dict[str, None]] = {}
    for result in results:
        labels.setdefault(result.evidence, {})[escape(result.column.label)] = None
    return "; ".join(f"`{kind}` for {', '.join(columns)}" for kind, columns in labels.items())


def _cell(result: CellResult) -> str:
    ours = "–" if result.measured is None else as_printed(result.measured, result.cell.printed.decimals)
    return f"{ours} ({escape(result.cell.text)}) `{result.verdict}`"


def differences(results: Sequence[CellResult]) -> Lines:
    """What differs and why."""
    lines = [_difference(result) for result in results if result.verdict not in (EQUAL, NOT_RUN)]
    return [
        "## What differs, and why",
        "",
        *(lines or ["Nothing that was run differs at the printed precision."]),
    ]


def _difference(result: CellResult) -> str:
    published = result.cell.printed
    text = f"- **{escape(result.row.label)}, {escape(result.column.label)}** `{result.verdict}`"
    if result.measured is not None:
        share = f"{rounded(result.delta / published.value * 100, 1):+} %; " if published.value else ""
        ours = rounded(result.measured, max(3, published.decimals + 1))
        text += f": ours {ours}, published {escape(result.cell.text)}"
        text += f" ({share}tolerance {tolerance_text(result)})."
    elif result.verdict != NOT_RUN:
        text += f": published {escape(result.cell.text)}, ours not run."
    return f"{text} {result.reason or _UNEXPLAINED}"


def counts_in_full(record: TableRecord, results: Sequence[CellResult]) -> Lines:
    """The counted cells unrounded, and the second protocol of those that have one."""
    counted = [result for result in results if result.measured is not None and result.evidence == "counted"]
    header, body = [""], {row.number: [escape(row.label)] for row in record.rows}
    for column in record.columns:
        found = {result.row.number: result for result in counted if result.column is column}
        if not found:
            continue
        protocols = {result.protocol for result in found.values()}
        one = len(protocols) == 1
        label = escape(column.label)
        header.append(f"{label}<br>" + (f"`{protocols.pop()}`" if one else "by its own protocol"))
        for number, line in body.items():
            line.append(_own(found.get(number), one))
        if column.also:
            header.append(f"{label}<br>`{column.also}`")
            for number, line in body.items():
                line.append(_second(found.get(number)))
    if len(header) == 1:
        return []
    kept = [line for line in body.values() if set(line[1:]) != {"–"}]
    return [
        "## Counts in full",
        "",
        *table(header, kept),
        "",
        f"Published cells are compared with the protocol named first.{_images(counted)}",
        *_uncounted(counted),
    ]


def predictions(results: Sequence[CellResult]) -> Lines:
    """The predicted cells by every protocol with their distance from print, and what they depend on."""
    found = [result for result in results if result.measured is not None and result.evidence == "predicted"]
    if not found:
        return []
    names = list(dict.fromkeys(name for r in found for name in (r.protocol, *r.also)))
    body = [
        [
            escape(f"{r.row.label}, {r.column.label}"),
            escape(r.cell.text),
            *(_distant(r, name) for name in names),
        ]
        for r in found
    ]
    said = dict.fromkeys(text for result in found for text in result.assumptions)
    header = ["", "published", *(f"`{name}`" for name in names)]
    return [
        "## Predictions in full",
        "",
        *table(header, body),
        "",
        "Cells are compared with the protocol named first. What they assume:",
        "",
        *(f"- {text}." for text in said),
    ]


def _distant(result: CellResult, protocol: str) -> str:
    """Our number by a protocol and how far it is from the published one: "7,464 (+0.2 %)"."""
    value = {result.protocol: result.measured, **result.also}.get(protocol)
    if value is None:
        return "–"
    share = rounded((value / result.cell.printed.value - 1) * 100, 1)
    return f"{rounded(value, 0 if abs(value) >= 1000 else 2):,} ({share:+} %)"


def _own(result: CellResult | None, one_protocol: bool) -> str:
    if result is None:
        return "–"
    number = _in_full(result.measured, result.column.unit)
    return number if one_protocol else f"{number} `{result.protocol}`"


def _second(result: CellResult | None) -> str:
    if result is None:
        return "–"
    known = {result.protocol: result.measured, **result.also}
    return _in_full(known.get(result.column.also), result.column.unit)


def _images(counted: Sequence[CellResult]) -> str:
    """What the FLOPs were counted on."""
    columns = list({id(result.column): result.column for result in counted}.values())
    sizes = [f"{c.label}: one image of {c.size[0]}x{c.size[1]}" for c in columns if c.size]
    free = [c.label for c in columns if c.metric == "flops" and not c.size]
    sizes += [f"{label}: on the images of each system's own paper" for label in free]
    return f" {escape('; '.join(dict.fromkeys(sizes)))}." if sizes else ""


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

"""The audit as Markdown and as JSON."""

from bench.audit.finding import EXPLAINED, GRADES, HARD, RIGHT, SOFT, Check, Place
from bench.audit.runner import Audit, Ruling, in_doubt
from bench.render_markdown import Lines, escape, table

SCHEMA = 1
_TITLES = {
    HARD: "What cannot be right",
    SOFT: "What is unusual",
    EXPLAINED: "What differs, and is accounted for",
}

_MARKING = (
    "The numbers that hard findings speak against. A number with a printed difference that is not its own; a "
    "PQ that its things and stuff cannot give, or where another table confirms the PQ, the things and the "
    "stuff. Of one quantity printed differently: a number that another paper prints otherwise of its own "
    "run; else all values but the one that most papers print, or within one paper most tables; without such "
    "a majority all. A number that another rule confirms stands. A wrong sentence marks no number. A few "
    "more are marked by hand, where only our own counts tell which number is wrong; their reports say why."
)


def headline(audit: Audit) -> str:
    """The audit in a sentence."""
    counts = ", ".join(f"{audit.count(grade):,} {grade}" for grade in GRADES)
    return (
        f"{audit.checked:,} relations between {audit.numbers:,} printed numbers of {audit.tables} tables: "
        f"{audit.count(RIGHT):,} right; findings: {counts}."
    )


def markdown(audit: Audit) -> str:
    """The whole report."""
    sections = [
        [f"**{headline(audit)}**", "", "# Audit of the papers' own arithmetic", "", *_introduction()],
        ["## What was checked", "", *_counts(audit)],
        _marked(audit),
        *(_section(audit, grade) for grade in GRADES),
        ["## The rules", "", *(f"- **{rule.title}** (`{rule.name}`): {rule.says}" for rule in audit.rulings)],
        ["## Command", "", "```sh", "python -m bench audit", "```"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def payload(audit: Audit) -> dict:
    """The audit as JSON-able data: counts by rule, and every finding that is not right."""
    return {
        "schema": SCHEMA,
        "headline": headline(audit),
        "tables": audit.tables,
        "numbers": audit.numbers,
        "checked": audit.checked,
        "counts": {grade: audit.count(grade) for grade in (RIGHT, *GRADES)},
        "rules": [_rule_data(ruling) for ruling in audit.rulings],
        "findings": [
            _finding_data(ruling, check)
            for grade in GRADES
            for ruling in audit.rulings
            for check in ruling.of(grade)
        ],
    }


def _introduction() -> Lines:
    return [
        "Every rule below runs over all of `tables/`; no finding is written down anywhere. A printed number "
        "stands for all numbers that are printed like it: 47.2 for 47.15 to 47.25, or, where a paper cuts "
        "digits off, for 47.2 to 47.3. "
        + " ".join(f"*{grade.capitalize()}*: {meaning}." for grade, meaning in GRADES.items()),
    ]


def _counts(audit: Audit) -> Lines:
    body = [
        [f"{escape(ruling.title)}", str(len(ruling.checks)), *(str(n) for n in ruling.counts.values())]
        for ruling in audit.rulings
    ]
    totals = [str(audit.count(grade)) for grade in (RIGHT, *GRADES)]
    body.append(["all", str(audit.checked), *totals])
    return table(["", "checked", RIGHT, *GRADES], body)


def _section(audit: Audit, grade: str) -> Lines:
    """The findings of one grade, numbered, by rule."""
    lines, number = [f"## {_TITLES[grade]}", "", f"{GRADES[grade].capitalize()}.", ""], 0
    for ruling in audit.rulings:
        for check in ruling.of(grade):
            number += 1
            lines.append(
                f"{number}. **{escape(where(check.places[0]))}** ({escape(ruling.title)}): "
                f"{escape(check.arithmetic)}."
            )
    return lines if number else [*lines, "Nothing."]


def _marked(audit: Audit) -> Lines:
    """Which cells the reports mark, and by which rule."""
    tables: dict[str, list[str]] = {}
    for place in in_doubt(audit):
        cell = f"row {place.row} ({place.row_label}), {place.column_label}"
        tables.setdefault(place.printed_in, []).append(cell)
    lines = [f"- **{escape(name)}**: {escape('; '.join(cells))}" for name, cells in sorted(tables.items())]
    return ["## What the reports mark with `!`", "", _MARKING, "", *(lines or ["Nothing."])]


def where(place: Place) -> str:
    """A place as people say it: "PFT Table II, row 8 (PFT (ours), R50), mIoU (m.s.)"."""
    return f"{place.printed_in}, row {place.row} ({place.row_label}), {place.column_label}"


def _rule_data(ruling: Ruling) -> dict:
    counts = {"checked": len(ruling.checks), **ruling.counts}
    return {"name": ruling.name, "title": ruling.title, "says": ruling.says, **counts}


def _finding_data(ruling: Ruling, check: Check) -> dict:
    return {
        "rule": ruling.name,
        "grade": check.grade,
        "arithmetic": check.arithmetic,
        "places": [_place_data(place) for place in check.places],
        "disputed": [_place_data(place) for place in check.disputed] if check.grade == HARD else [],
    }


def _place_data(place: Place) -> dict:
    return {
        "paper": place.paper,
        "table": place.table,
        "row": place.row,
        "row_label": place.row_label,
        "column": place.column,
    }

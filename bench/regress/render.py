"""The Markdown summary of a regression run: what changed, and nothing else; fit for a CI job's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.markdown import escape, table
from bench.regress.check import Change

_SHOWN = 50


def summary(
    changes: Mapping[str, Sequence[Change]], quantities: Mapping[str, int], notes: Sequence[str] = ()
) -> str:
    """`changes` and the number of `quantities` that were compared, by the title of the check."""
    total = sum(map(len, changes.values()))
    verdict = "nothing moved" if not total else f"{total} of {sum(quantities.values())} quantities moved"
    lines = [f"# Regression: {verdict}", ""]
    body = [[title, str(quantities[title]), str(len(found))] for title, found in changes.items()]
    lines += table(["check", "compared", "moved"], body)
    for title, found in changes.items():
        if found:
            lines += ["", f"## {title}", "", *_changes(found)]
    lines += ["", *(f"- {note}" for note in notes)] if notes else []
    if total:
        lines += ["", 'Meant? `python -m bench regress --update --because "..."` makes these the baseline.']
    return "\n".join(lines) + "\n"


def _changes(found: Sequence[Change]) -> list[str]:
    body = [[escape(c.quantity), escape(c.was), escape(c.now), escape(c.allowed)] for c in found[:_SHOWN]]
    lines = table(["quantity", "was", "is", "allowed"], body)
    return [*lines, "", f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else list(lines)

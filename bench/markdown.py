"""Markdown in small pieces: tables, and text that is shown as it is."""

from collections.abc import Sequence

Lines = list[str]


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> Lines:
    """A Markdown table; columns after the first are centred."""
    marks = [":--", *[":-:"] * (len(header) - 1)]
    return [f"| {' | '.join(line)} |" for line in (header, marks, *body)]


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in ("\\", "|", "*", "_", "#", "<"):
        text = text.replace(mark, "\\" + mark)
    return text

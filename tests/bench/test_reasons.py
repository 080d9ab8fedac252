"""The counted cells of the reports: each that is not equal says why, and few of them that nobody knows."""

import json
from pathlib import Path

REPORTS = Path(__file__).resolve().parents[2] / "reports"


def counted():
    """Every counted cell with a number of ours, with its place."""
    for file in sorted(REPORTS.glob("*/table*.json")):
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            if cell["evidence"] == "counted" and cell["measured"] is not None:
                yield f"{file.parent.name} {file.stem}, {cell['row_label']}, {cell['column_label']}", cell


def test_every_counted_cell_that_is_not_equal_says_why():
    assert [place for place, cell in counted() if cell["verdict"] != "=" and not cell["reason"]] == []


def test_unknown_reasons_are_at_most_a_twentieth():
    found = list(counted())
    unknown = [place for place, cell in found if "unknown" in (cell["reason"] or "").lower()]
    assert len(found) > 290
    assert len(unknown) <= 0.05 * len(found), unknown

"""The whole audit: of made-up tables, of the record, and as written."""

import dataclasses
import json
from decimal import Decimal

import pytest

from bench import cli
from bench.audit import audit, contradicted, contradictions
from bench.audit.render import headline, markdown, payload
from bench.audit.rules import deltas, parts
from bench.audit.runner import everything

PQ = {"pq": {}, "pq_things": {}, "pq_stuff": {}}


@pytest.fixture
def records(made_up):
    """Two tables: the PQ of the second is not that of its parts, but the first prints it, too."""
    preset = {"coco": "faseg_r50_coco"}
    first = made_up({"pq": {}}, {"cells": {"pq": "47.3"}, "preset": preset})
    cells = {"pq": "47.3", "pq_things": "52.6", "pq_stuff": "39.0"}
    return [first, made_up(PQ, {"label": "D|M", "cells": cells, "preset": preset}, table="2")]


@pytest.fixture(scope="module")
def whole():
    """The audit of the record."""
    return audit()


def test_counts(records):
    found = audit(records)
    counts = {ruling.name: ruling.counts for ruling in found.rulings}
    assert counts["parts"] == {"right": 0, "hard": 1, "soft": 0, "explained": 0}
    assert counts["same_quantity"]["right"] == 1
    assert (found.checked, found.count("hard"), found.tables, found.numbers) == (2, 1, 2, 4)
    assert headline(found) == (
        "2 relations between 4 printed numbers of 2 tables: 1 right; findings: 1 hard, 0 soft, 0 explained."
    )


def test_what_another_rule_confirms_is_not_contradicted(records):
    reasons = contradicted(audit(records))
    assert sorted(reasons) == [("paper", "2", 1, "pq_stuff"), ("paper", "2", 1, "pq_things")]
    assert all("(80 x 52.6 + 53 x 39.0) / 133 = 47.1805" in reason for reason in reasons.values())
    alone = contradicted(audit(records[1:]))
    assert sorted(alone) == [("paper", "2", 1, "pq")]  # the one that the others should give


def test_what_the_audit_of_the_record_contradicts(whole):
    reasons = contradicted(whole)
    assert contradictions() == reasons
    marked = sorted(reasons)
    assert ("pft", "ii", 8, "miou_ms") in marked  # its difference is wrong
    assert ("pft", "ii", 17, "miou") not in marked  # a sentence is
    assert "+0.9 is stated" in reasons["pft", "ii", 8, "miou_ms"]
    assert "107M in Mask2Former Table III" in reasons["faseg", "9", 6, "params"]
    assert ("mask2former", "iii", 11, "params") not in marked
    # 47.3 stands in another table, its parts do not; 49.7 nowhere else.
    assert [place for place in marked if place[:2] == ("panoptic_segformer", "8")] == [
        ("panoptic_segformer", "8", 2, "pq_stuff"), ("panoptic_segformer", "8", 2, "pq_things"),
    ]  # fmt: skip
    assert [place for place in marked if place[:2] == ("panoptic_segformer", "b3")] == [
        ("panoptic_segformer", "b3", 5, "pq")
    ]
    # 45.4 is what its printed difference gives; 45.5 in Table Xb has nothing on its side.
    assert ("mask2former", "xb", 1, "miou") in marked and ("mask2former", "4b", 2, "miou") not in marked


def test_a_printed_difference_that_is_not_its_numbers_own_is_contradicted(made_up):
    base = {"cells": {"pq": "46.7"}}
    wrong = {"cells": {"pq": "47.9"}, "printed_delta": {"pq": "+0.9"}, "delta_from": 1}
    assert list(contradicted(audit([made_up({"pq": {}}, base, wrong)]))) == [("paper", "1", 2, "pq")]
    right = {**wrong, "cells": {"pq": "47.9"}, "printed_delta": {"pq": "+1.2"}}
    assert contradicted(audit([made_up({"pq": {}}, base, right)])) == {}


def test_markdown_shows_the_arithmetic(records):
    text = markdown(audit(records))
    assert text.startswith("**2 relations")
    assert "1. **paper Table 2, row 1 (D\\|M), pq** (PQ, SQ and RQ from things and stuff): (80 x 52.6" in text
    assert "| PQ, SQ and RQ from things and stuff | 1 | 0 | 1 | 0 | 0 |" in text
    assert "Nothing." in text


def test_json_has_every_finding(records):
    data = payload(audit(records))
    assert json.loads(json.dumps(data)) == data
    (finding,) = data["findings"]
    assert (finding["rule"], finding["grade"]) == ("parts", "hard")
    assert finding["places"][0] == {
        "paper": "paper", "table": "2", "row": 1, "row_label": "D|M", "column": "pq",
    }  # fmt: skip
    assert data["counts"] == {"right": 1, "hard": 1, "soft": 0, "explained": 0}


def test_the_command_writes_both_files(tmp_path, capsys):
    assert cli.main(["audit", "--out", str(tmp_path / "new")]) == 0
    shown = capsys.readouterr().out
    assert "Printed differences: " in shown
    text = (tmp_path / "new" / "audit.md").read_text()
    assert text.splitlines()[0].strip("*") in shown
    assert json.loads((tmp_path / "new" / "audit.json").read_text())["schema"] == 1
    cli.main(["audit", "--out", str(tmp_path / "again")])
    assert (tmp_path / "again" / "audit.md").read_text() == text


# Slips of the four papers, each looked up in the paper: the place of a finding, and a part of its arithmetic.
KNOWN = [
    ("deltas", ("pft", "ii", 8, "miou_ms"), "47.9 - 46.7 = 1.2, but +0.9"),
    ("claims", ("pft", "ii", 17, "miou"), "48.7 - 46.7 = 2, but 1.6"),
    ("parts", ("panoptic_segformer", "8", 2, "pq"), "printed 47.3"),
    ("parts", ("panoptic_segformer", "b3", 5, "pq"), "printed 49.7"),
    ("same_quantity", ("faseg", "9", 6, "params"), "107M"),
    ("same_quantity", ("panoptic_segformer", "b1", 1, "epochs"), "500 in Panoptic SegFormer Table B.1"),
    ("same_quantity", ("panoptic_segformer", "fig1", 1, "pq"), "43.5 in Panoptic SegFormer Figure 1"),
    ("same_quantity", ("panoptic_segformer", "fig1", 4, "pq"), "47.7 in Mask2Former Table I"),
    ("same_quantity", ("panoptic_segformer", "fig1", 2, "params"), "61.9 in Panoptic SegFormer Table 1"),
    ("same_quantity", ("mask2former", "xb", 1, "miou"), "45.4 in Mask2Former Table 4b"),
    ("same_quantity", ("panoptic_segformer", "1", 13, "epochs"), "216 in Mask2Former"),
]


@pytest.mark.parametrize(("rule", "place", "part"), KNOWN)
def test_the_slips_of_the_papers_are_found(whole, rule, place, part):
    (ruling,) = [ruling for ruling in whole.rulings if ruling.name == rule]
    found = [check for check in ruling.of("hard") if place in [found.key for found in check.places]]
    assert any(part in check.arithmetic for check in found)


def test_every_printed_difference_is_checked_and_all_others_are_right(whole):
    printed = [cell for record in everything() for *_, cell in record.cells if cell.printed_delta is not None]
    (ruling,) = [ruling for ruling in whole.rulings if ruling.name == "deltas"]
    assert len(ruling.checks) == len(printed) > 60
    wrong = {check.places[0].key for check in ruling.checks if check.grade != "right"}
    assert wrong == {("pft", "ii", 8, "miou_ms"), ("pft", "ii", 9, "miou")}


def misprinted(record, metrics, by):
    """`record` with every number of some metrics changed, or where there are none, every difference."""
    rows = []
    for row in record.rows:
        cells = dict(row.cells)
        for column in record.columns:
            cell = cells[column.id]
            if not metrics and cell.printed_delta is not None:
                delta = f"{Decimal(cell.printed_delta) + by:+}"
                cells[column.id] = dataclasses.replace(cell, printed_delta=delta)
            elif column.metric in metrics and cell.printed is not None:
                printed = dataclasses.replace(cell.printed, value=cell.printed.value + by)
                cells[column.id] = dataclasses.replace(cell, printed=printed)
        rows.append(dataclasses.replace(row, cells=cells))
    return dataclasses.replace(record, rows=tuple(rows))


@pytest.mark.parametrize(
    ("rule", "metrics", "by"), [(deltas, (), "0.3"), (parts, ("pq", "sq", "rq"), "-0.3")]
)
def test_a_misprint_of_any_of_them_would_be_found(rule, metrics, by):
    before = [check.grade for check in rule.check(everything())]
    after = [check.grade for check in rule.check([misprinted(r, metrics, Decimal(by)) for r in everything()])]
    missed = [now for now, once in zip(after, before, strict=True) if once == "right" and now != "hard"]
    assert len(missed) == 0


def test_what_the_papers_have_right_is_right(whole):
    counts = {ruling.name: ruling.counts for ruling in whole.rulings}
    for name in ("means", "totals", "ap", "scales", "mentions", "product"):
        assert counts[name]["right"] == sum(counts[name].values()) > 20, name
    assert counts["parts"]["right"] > 100

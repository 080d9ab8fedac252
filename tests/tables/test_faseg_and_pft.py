"""FASeg and PFT as printed: how many numbers, cells across the tables as literals, what their text says."""

import csv
import functools
from pathlib import Path

import pytest

import tables
from tables.record import parse

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

# Paper and table -> printed lines, numbers, and some cells: (line, column) -> as printed. Sideways, a line is
# a metric and the second part of the key is the printed column.
PRINTED = {
    ("faseg", "1"): (24, 93, {(8, "miou_ms"): "46.1", (11, "params"): "74", (24, "flops"): "405"}),
    ("faseg", "2"): (8, 22, {(2, "flops"): "1,317", (8, "params"): "67"}),
    ("faseg", "3"): (3, 6, {(1, "faseg_miou"): "46.9", (3, "mask2former_miou"): "47.3"}),
    ("faseg", "4"): (4, 16, {(4, "cityscapes_miou"): "80.5"}),
    ("faseg", "5"): (5, 5, {(2, "miou"): "46.6"}),
    ("faseg", "6"): (4, 12, {(3, "memory"): "6,082", (1, "flops"): "83"}),
    ("faseg", "7"): (4, 12, {(4, "memory"): "6,317", (4, "flops"): "71"}),
    ("faseg", "8"): (3, 6, {(1, "memory"): "20,418", (3, "memory"): "17,817"}),
    ("faseg", "9"): (7, 47, {(3, "epochs"): "36", (4, "ap_m"): "45.4", (7, "ap_l"): "70.5"}),
    ("faseg", "10"): (3, 3, {(1, "miou"): "47.9"}),
    ("faseg", "11"): (1, 4, {(1, "80k"): "54.7"}),
    ("pft", "i"): (3, 16, {(1, "m.s. feature"): "88G", (3, "s.s. feature 1/8"): "36.8"}),
    ("pft", "ii"): (20, 112, {(1, "crop_size"): "520²", (2, "schedule"): "200k", (20, "flops"): "385G"}),
    ("pft", "iii"): (14, 66, {(3, "crop_size"): "544²", (9, "params"): "42M", (14, "params"): "233M"}),
    ("pft", "iv"): (9, 39, {(6, "miou"): "53.1", (9, "miou_ms"): "57.3"}),
    ("pft", "v"): (8, 47, {(4, "params"): "217M", (8, "flops"): "403G"}),
    ("pft", "vi"): (7, 21, {(1, "pixel_accuracy"): "78.35", (7, "score"): "65.00"}),
    ("pft", "vii"): (6, 18, {(3, "memory"): "26,391M", (6, "flops"): "125.7G"}),
    ("pft", "viii"): (6, 6, {(2, "miou"): "48.3 ± 0.4", (6, "miou"): "48.4 ± 0.3"}),
    ("pft", "ix"): (2, 8, {(1, "1/32+1/16+1/8+1/4"): "88G", (2, "1/32"): "47.0"}),
    ("pft", "x"): (8, 16, {(1, "Swin"): "6e-5", (7, "ResNet and Swin"): "20.0", (8, "Swin-B&L"): "0.2"}),
    ("pft", "supplement"): (4, 4, {(3, "miou"): "47.6"}),
}


def test_every_table_is_there_in_printed_order():
    assert tables.tables("faseg") == [str(number) for number in range(1, 12)]
    roman = ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"]
    assert tables.tables("pft") == [*roman, "supplement"]


@pytest.mark.parametrize(("paper", "table"), PRINTED)
def test_tables_are_as_printed(paper, table):
    record, (lines, numbers, some) = tables.load(paper, table), PRINTED[paper, table]
    places = {}
    for row, column, cell in record.cells:
        line, _ = record.line(row, column)
        places.setdefault((line, row.label if record.sideways else column.id), []).append(cell.text)
    assert max(line for line, _ in places) == lines
    assert len(record.cells) == numbers
    assert {place: places[place][0] for place in some} == some


def test_a_line_with_several_settings_keeps_them_apart():
    record = tables.load("pft", "x")
    lines = {}
    for row, column, cell in record.cells:
        lines.setdefault(record.line(row, column)[0], []).append((column.id, row.label, cell.text))
    assert lines[4] == [
        ("focal_class_weight", "ResNet and Swin", "1.0"),
        ("alpha", "ResNet and Swin", "0.25"),
        ("gamma", "ResNet and Swin", "2.0"),
        ("focal_class_weight", "Swin-T&S", "2.0"),
    ]
    assert [column.setting for column in record.columns][:2] == ["train.lr", "train.weight_decay"]


@functools.cache
def _records():
    return [tables.load(paper, table) for paper, table in PRINTED]


def test_printed_differences_are_those_of_the_rows_but_for_two():
    wrong, count = [], 0
    for record in _records():
        for row, column, cell in record.cells:
            if cell.printed_delta is None:
                continue
            count += 1
            base = record.row(row.delta_from).cells[column.id].printed.value
            if cell.printed.value - base != parse(cell.printed_delta).value:
                wrong.append((record.table, row.label, column.id, cell.printed_delta))
    assert count == 40
    assert wrong == [("ii", "PFT (ours), R50", "miou_ms", "+0.9"), ("ii", "PFT (ours), R101", "miou", "+1.1")]


HOLDS = {
    "equal": lambda difference, value: difference == value,
    "at most": lambda difference, value: difference <= value,
    "more than": lambda difference, value: difference > value,
}


def test_the_text_agrees_with_the_tables_but_for_two_sentences():
    wrong, claims = [], 0
    for record in _records():
        for claim in record.claims:
            claims += 1
            first = record.row(claim.row).cells[claim.column].printed.value
            second = record.row(claim.minus).cells[claim.minus_column or claim.column].printed.value
            if not HOLDS[claim.relation](first - second, claim.value.value):
                wrong.append((record.paper, record.table, claim.where, claim.value.text))
        for mention in record.mentions:
            assert record.row(mention.row).cells[mention.column].printed.value == mention.value.value
    assert claims == 43
    assert wrong == [("faseg", "11", "Appendix E", "0.3"), ("pft", "ii", "Section IV-B", "1.6")]


# The last number of a line that the text extraction shifts and cuts off; the row's notes tell its source.
LOST = {("pft", "iii", 9): "42M"}


@pytest.mark.parametrize(("paper", "count"), {"faseg": 69, "pft": 89}.items())
def test_the_records_are_what_a_second_reading_found(paper, count):
    """`tests/golden/printed_<paper>.csv`: table, row (sideways: printed column), numbers, "-" for none.

    Read off the papers' text without the records, by another reader. What that text lost is in LOST.
    """
    with (GOLDEN / f"printed_{paper}.csv").open(encoding="utf-8") as file:
        read = {(table, int(row)): numbers for table, row, *numbers in csv.reader(file)}
    for (lost_in, table, row), number in LOST.items():
        if lost_in == paper:
            assert read[table, row].pop() == "-"
            read[table, row].append(number)
    shown = {
        (record.table, row.number): [
            f"{cell.text} ({cell.printed_delta})" if cell.printed_delta else cell.text
            for cell in row.cells.values()
        ]
        for record in _records()
        if record.paper == paper
        for row in record.rows
    }
    assert len(read) == count
    assert shown == read


def test_rows_that_are_not_built_are_quoted():
    missing = [(record, row) for record in _records() for row in record.rows if not row.preset]
    assert {row.provenance for _, row in missing} == {"quoted"}
    assert all(row.unbuildable for _, row in missing)
    assert sum("first version of the PFT preprint" in (row.unbuildable or "") for _, row in missing) == 4


def test_presets_and_overrides_exist():
    import models

    def check(name, overrides, variant):
        models.preset(name, variant or "released").override(overrides)

    for record in _records():
        tables.load(record.paper, record.table, check)

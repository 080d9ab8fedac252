"""The records of Mask2Former and Panoptic SegFormer against a second reading of the papers.

`tests/golden/printed_<paper>.csv` was read off the papers' text by a program of its own, without the records.
A line is the table, the number of the printed line (sideways, of the printed column), and what it prints:
"-" is no number, a printed difference stands in brackets.
"""

import csv
from pathlib import Path

import pytest

import tables
from tables.record import parse

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
PAPERS = {"mask2former": (27, 185), "panoptic_segformer": (18, 119)}
RECORDS = [(paper, table) for paper in PAPERS for table in tables.tables(paper)]


def second_reading(paper):
    """Table -> its rows, in printed order."""
    read = {}
    with (GOLDEN / f"printed_{paper}.csv").open(encoding="utf-8") as file:
        for table, row, *numbers in csv.reader(file):
            rows = read.setdefault(table, [])
            assert int(row) == len(rows) + 1
            rows.append(numbers)
    return read


def shown(cell):
    return f"{cell.text} ({cell.printed_delta})" if cell.printed_delta else cell.text


@pytest.mark.parametrize("paper", PAPERS)
def test_the_records_are_what_a_second_reading_found(paper):
    read = second_reading(paper)
    count, rows = PAPERS[paper]
    assert sorted(read) == sorted(tables.tables(paper))
    assert (len(read), sum(map(len, read.values()))) == (count, rows)
    for table, numbers in read.items():
        record = tables.load(paper, table)
        assert [[shown(row.cells[c.id]) for c in record.columns] for row in record.rows] == numbers, table


def test_how_many_numbers_there_are():
    found = {paper: sum(len(tables.load(paper, t).cells) for t in tables.tables(paper)) for paper in PAPERS}
    assert found == {"mask2former": 978, "panoptic_segformer": 686}


@pytest.mark.parametrize(("paper", "table"), RECORDS)
def test_a_row_has_a_preset_or_says_why_not(paper, table):
    for row in tables.load(paper, table).rows:
        assert bool(row.preset) != bool(row.unbuildable), row.label


@pytest.mark.parametrize("paper", PAPERS)
def test_presets_and_overrides_exist(paper):
    import models

    def check(name, overrides, variant):
        models.preset(name, variant or "released").override(overrides)

    for table in tables.tables(paper):
        tables.load(paper, table, check)


@pytest.mark.parametrize(("paper", "table"), RECORDS)
def test_printed_differences_and_mentions_are_those_of_the_cells(paper, table):
    record = tables.load(paper, table)
    for row in record.rows:
        for cell in row.cells.values():
            if cell.printed_delta:
                start = record.row(row.delta_from).cells[cell.column].printed.value
                assert cell.printed.value - start == parse(cell.printed_delta).value
    for mention in record.mentions:
        assert record.row(mention.row).cells[mention.column].printed.value == mention.value.value


def test_the_one_claim_of_the_text_that_its_table_does_not_bear_out():
    false = []
    for paper, table in RECORDS:
        record = tables.load(paper, table)
        for claim in record.claims:
            row, minus = (record.row(n).cells[claim.column].printed.value for n in (claim.row, claim.minus))
            more, said = row - minus, claim.value.value
            if more != said if claim.relation == "equal" else more <= said:
                false.append((paper, table, claim.row, str(more), claim.relation, claim.value.text))
    assert false == [("mask2former", "1", 6, "5.0", "more than", "5")]


@pytest.mark.parametrize(
    ("text", "value", "decimals", "suffix", "mark"),
    [
        ("67.5*", "67.5", 1, "", "*"),
        ("16*", "16", 0, "", "*"),
        ("500+25", "525", 0, "", ""),
        ("512 × 512", "512", 0, "", ""),
        ("100 queries", "100", 0, "queries", ""),
        ("12544 sampled points", "12544", 0, "sampled points", ""),
    ],
)
def test_numbers_in_words_and_with_stars(text, value, decimals, suffix, mark):
    printed = parse(text)
    assert (str(printed.value), printed.decimals) == (value, decimals)
    assert (printed.text, printed.suffix, printed.mark) == (text, suffix, mark)


@pytest.mark.parametrize("text", ["512 × 640", "500+", "16**", "100 queries of them", "*"])
def test_what_is_no_number(text):
    with pytest.raises(ValueError, match="not a printed number"):
        parse(text)

"""Which published orderings hold: the rule, and the rows that are compared."""

import dataclasses

import pytest

import tables
from bench.orderings import HOLDS, REVERSED, UNTOLD, orderings, pairs, reference, references, verdict
from bench.spread import Difference, welch


def mini_of(scores: dict[int, list[float]], **same_as: int) -> dict:
    rows = [
        {"row": row, "scores": list(found), "untrained": [1.0], "majority": 2.0}
        for row, found in scores.items()
    ]
    for name, earlier in same_as.items():
        next(entry for entry in rows if entry["row"] == int(name.removeprefix("row")))["same_as"] = earlier
    return {"dataset": "camvid", "rows": rows}


def found(low: float, high: float) -> Difference:
    return Difference(seeds=3, mean=(low + high) / 2, deviation=1.0, low=low, high=high, freedom=4.0)


@pytest.mark.parametrize(
    ("interval", "published", "expected"),
    [
        ((0.1, 2.0), 1.1, HOLDS),
        ((-2.0, -0.1), -0.3, HOLDS),
        ((0.1, 2.0), -1.1, REVERSED),
        ((-2.0, -0.1), 0.3, REVERSED),
        ((-0.1, 2.0), 1.1, UNTOLD),
        ((-2.0, 0.0), 1.1, UNTOLD),
    ],
)
def test_the_rule(interval, published, expected):
    assert verdict(published, found(*interval)) == expected


def test_one_seed_tells_nothing():
    assert verdict(1.0, welch([50.0], [10.0])) == UNTOLD


@pytest.mark.parametrize(
    ("paper", "table", "expected"),
    [("faseg", "4", 1), ("faseg", "6", 4), ("faseg", "7", 3), ("mask2former", "4a", 1), ("pft", "viii", 3)],
)
def test_the_reference_is_the_system_as_it_is(paper, table, expected):
    record = tables.load(paper, table)
    assert reference(record, [row.number for row in record.rows]) == expected


def test_printed_differences_name_the_reference():
    record = tables.load("mask2former", "4a")
    assert references(record, [1, 2, 3]) == {2: 1, 3: 1}
    assert references(record, [2, 3]) == {3: 2}  # without row 1, the first there is
    rows = (*record.rows[:2], dataclasses.replace(record.rows[2], delta_from=2))
    assert references(dataclasses.replace(record, rows=rows), [1, 2, 3]) == {2: 1, 3: 2}


def test_rows_are_compared_with_the_reference_and_the_row_above():
    record = tables.load("faseg", "6")
    mini = mini_of({row: [30.0, 31.0, 32.0] for row in (1, 2, 3, 4)})
    assert pairs(record, mini) == [(1, 4), (2, 1), (2, 4), (3, 2), (3, 4)]
    same = mini_of({row: [30.0, 31.0, 32.0] for row in (1, 2, 3, 4)}, row4=1)
    assert pairs(record, same) == [(2, 1), (2, 4), (3, 2), (3, 4)]


def test_orderings_of_a_table():
    """FASeg Table 6 prints 47.3, 46.7, 47.5 and 48.3."""
    record = tables.load("faseg", "6")
    scores = {1: [40.0, 40.1, 40.2], 2: [41.0, 41.1, 41.2], 3: [40.0, 43.0, 41.0], 4: [42.0, 42.1, 42.2]}
    told = {(o.row, o.other): (round(o.published, 1), o.verdict) for o in orderings(record, mini_of(scores))}
    assert told == {
        (1, 4): (-1.0, HOLDS),
        (2, 1): (-0.6, REVERSED),
        (2, 4): (-1.6, HOLDS),
        (3, 2): (0.8, UNTOLD),
        (3, 4): (-0.8, UNTOLD),
    }


def test_ties_in_print_are_no_orderings():
    """PFT Table VIII prints 48.7 for rows 3 and 4, 48.4 for rows 5 and 6."""
    record = tables.load("pft", "viii")
    mini = mini_of({row: [30.0 + row, 31.0 + row, 32.0] for row in range(1, 7)})
    told = [(o.row, o.other) for o in orderings(record, mini)]
    assert (4, 3) not in told and (6, 5) not in told and (5, 4) in told and (6, 3) in told


def test_our_miou_is_compared_with_columns_of_miou_only():
    mini = mini_of({1: [30.0, 31.0], 2: [30.0, 31.0], 3: [30.0, 31.0]})
    assert {o.column.id for o in orderings(tables.load("mask2former", "4a"), mini)} == {"miou"}
    columns = {o.column.id for o in orderings(tables.load("faseg", "4"), mini_of({1: [30.0], 2: [31.0]}))}
    assert columns == {"ade20k_miou", "cityscapes_miou"}

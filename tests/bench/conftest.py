"""A filled table to render: FASeg Table 4 with counts written down here, so that no model is built."""

from decimal import Decimal

import pytest

import tables
from bench import cells, counting

# Row -> parameters, FLOPs by the paper's protocol, FLOPs by the exact one.
COUNTS = {
    1: (43_988_247, 70_769_000_000, 71_265_000_000),
    2: (44_127_511, 70_900_000_000, 71_710_000_000),
    3: (50_303_511, 72_134_000_000, 72_629_000_000),
    4: (50_511_639, 73_410_000_000, 74_325_000_000),
}


def counted(record, row, column, cell, store):
    """Stands in for the counting of a cell."""
    params, paper, exact = COUNTS[row.number]
    if column.metric == "params":
        return cells.Found(numbers={column.protocol: Decimal(params) / 10**6})
    numbers = {column.protocol: Decimal(paper) / 10**9, column.also: Decimal(exact) / 10**9}
    return cells.Found(numbers=numbers)


@pytest.fixture
def fake_counts(monkeypatch):
    """Counting takes no time; gives the list of (row, column) that were counted."""
    asked = []

    def count(record, row, column, cell, store):
        asked.append((row.number, column.id))
        return counted(record, row, column, cell, store)

    monkeypatch.setitem(cells._FINDERS, "counted", count)
    monkeypatch.setattr(counting, "missing", lambda *_: [])
    return asked


@pytest.fixture
def record():
    """FASeg Table 4."""
    return tables.load("faseg", "4")


@pytest.fixture
def results(record, fake_counts):
    """Its cells, filled."""
    return cells.fill(record, ("counted",), store=None)


@pytest.fixture
def mini():
    """A mini replication as `bench.mini.run` gives it; row 2 is 1, 2, 0 above row 1, row 3 2, 2, 2.1."""
    scores = {1: [20.0, 22.0, 21.0], 2: [21.0, 24.0, 21.0], 3: [22.0, 24.0, 23.1], 4: [21.1, 23.4, 22.2]}
    rows = [
        {"row": n, "scores": s, "untrained": [2.0, 2.5, 1.5], "majority": 7.25} for n, s in scores.items()
    ]
    budget = {"name": "small", "steps": 150, "batch": 4, "seeds": 5, "image_size": [192, 192]}
    return {"budget": budget, "dataset": "embedded", "rows": rows, "wall_seconds": 133.25}

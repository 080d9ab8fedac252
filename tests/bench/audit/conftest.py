"""Small made-up tables."""

import pytest

from tables import Cell, Claim, Column, Mention, Row, TableRecord, Tolerance
from tables.metrics import METRICS
from tables.record import parse


def _column(name: str, given: dict) -> Column:
    metric = given.pop("metric", name)
    fields = {
        "label": name,
        "unit": next(iter(METRICS[metric].units)),
        "protocol": "accuracy/made-up-v1",
        "dataset": "coco",
        "split": "val2017",
        "tolerance": Tolerance(),
    }
    return Column(id=name, metric=metric, **{**fields, **given})


def _row(number: int, columns: list[Column], given: dict) -> Row:
    texts, deltas = given.pop("cells"), given.pop("printed_delta", {})
    provenance = given.pop("provenance", "own run")
    cells = {
        column.id: Cell(
            column=column.id,
            text=texts.get(column.id, "-"),
            printed=parse(texts.get(column.id, "-")),
            provenance=provenance,
            protocol=column.protocol,
            printed_delta=deltas.get(column.id),
        )
        for column in columns
    }
    given.setdefault("label", f"row {number}")
    return Row(number=number, provenance=provenance, cells=cells, **given)


@pytest.fixture
def made_up():
    """Makes a table: `columns` maps an id (by default the metric) to what differs from COCO val2017, `rows`
    are the cells as printed, or dictionaries with them under "cells".
    """

    def make(
        columns: dict[str, dict], *rows: dict, paper="paper", table="1", source="", **said
    ) -> TableRecord:
        made = [_column(name, dict(given)) for name, given in columns.items()]
        listed = [dict(row) if "cells" in row else {"cells": row} for row in rows]
        claims = [Claim(**{**claim, "value": parse(claim["value"])}) for claim in said.get("claims", ())]
        mentions = [
            Mention(**{**found, "value": parse(found["value"])}) for found in said.get("mentions", ())
        ]
        return TableRecord(
            paper=paper,
            table=table,
            title="made up",
            source=f"Table {table}",
            file=f"tables/{paper}/table{table}.toml",
            columns=tuple(made),
            rows=tuple(_row(number, made, row) for number, row in enumerate(listed, start=1)),
            claims=tuple(claims),
            mentions=tuple(mentions),
        )

    return make


@pytest.fixture
def grades():
    """The grades that a rule gives to some tables, in its order."""
    return lambda rule, *records: [check.grade for check in rule.check(records)]

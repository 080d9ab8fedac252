"""Every table of the record: it loads, its rows resolve, its report is written, its JSON is as agreed."""

import json

import pytest

import tables
from bench import cells, configured
from bench.compare import MEANING
from bench.render import csv_text, json_text, payload
from bench.render_markdown import markdown
from tables.metrics import METRICS

TABLES = [(paper, table) for paper in tables.papers() for table in tables.tables(paper)]
TYPES = {
    "row": int, "row_label": str, "provenance": str, "metric": str, "unit": str, "published": str,
    "published_value": float, "decimals": int, "printed_delta": (str, type(None)), "evidence": str,
    "measured": (float, type(None)), "delta": (float, type(None)), "verdict": str, "protocol": str,
    "reason": (str, type(None)),
}  # fmt: skip

# Paper, table, printed line, printed column -> what our spec or recipe holds, and the verdict.
SETTINGS = {
    ("pft", "x", 1, "Swin"): (6e-5, "="),
    ("pft", "x", 7, "ResNet and Swin"): (20.0, "="),
    ("mask2former", "xia", 2, "Mask2Former (ours)"): (0.05, "="),
    ("mask2former", "xia", 3, "MaskFormer"): (64.0, "x"),
    ("mask2former", "xia", 4, "Mask2Former (ours)"): (368_750 * 16 / 118_287, "="),
    ("mask2former", "xib", 1, "MaskFormer"): (6.0, "="),
    ("mask2former", "xib", 1, "Mask2Former (ours)"): (9.0, "="),
    ("panoptic_segformer", "6", 3, "#Layer"): (2.0, "="),
    ("panoptic_segformer", "b5", 1, "#Head"): (1.0, "="),
}


def filled(paper, table):
    record = cells.load_table(paper, table)
    return record, cells.fill(record, ("configured",), store=None)


@pytest.mark.parametrize(("paper", "table"), TABLES)
def test_a_table_is_rendered(paper, table):
    record, results = filled(paper, table)
    data = json.loads(json_text(payload(record, results, {})))
    assert data.keys() == {"schema", "paper", "table", "title", "environment", "cells"}
    assert len(data["cells"]) == len(record.cells) == csv_text(data).count("\n") - 1
    for cell in data["cells"]:
        assert all(isinstance(cell[name], kind) for name, kind in TYPES.items()), cell
        assert cell["verdict"] in MEANING and cell["evidence"] == METRICS[cell["metric"]].evidence
        assert (cell["measured"] is None) == (cell["verdict"] in ".!") or cell["evidence"] == "configured"
        assert cell["verdict"] != "." or cell["reason"]
    assert [cell["row"] for cell in data["cells"]] == sorted(cell["row"] for cell in data["cells"])
    text = markdown(record, results)
    assert f"# {tables.paper(paper).name} {record.name}: {record.title}" in text
    shown = text.partition("\n## ")[0]
    assert all(f"({found.cell.text.replace('*', chr(92) + '*')})" in shown for found in results)


def test_settings_are_beside_what_our_specs_hold():
    found = {}
    for paper, table in dict.fromkeys(place[:2] for place in SETTINGS):
        for result in filled(paper, table)[1]:
            if result.evidence == "configured":
                place = (paper, table, result.line, result.column_label)
                found[place] = (float(result.measured), result.verdict)
    assert {place: found[place] for place in SETTINGS} == {
        place: (pytest.approx(value), sign) for place, (value, sign) in SETTINGS.items()
    }


def test_lines_of_a_table_printed_sideways_are_metrics():
    data = payload(*filled("pft", "i"), {})["cells"]
    lines = {(cell["row"], cell["row_label"], cell["metric"]) for cell in data}
    assert lines == {(1, "FLOPS", "flops"), (2, "params.", "params"), (3, "mIoU", "miou")}
    text = markdown(*filled("pft", "ix"))
    assert "| – (52G) `.` | – (56G) `.` |" in text and "|  | 1/32 | " in text


def test_a_cell_keeps_its_own_provenance():
    data = payload(*filled("faseg", "3"), {})["cells"]
    first = [cell["provenance"] for cell in data if cell["row"] == 1]
    assert first == ["quoted", "own run"]


def test_commands_name_the_column_where_a_row_has_several_models():
    record, results = filled("faseg", "3")
    assert results[0].command.startswith(
        "python -m bench train --table faseg/3 --row 1 --column mask2former_miou --dataset ade20k --root DIR"
    )


def test_a_data_set_whose_size_nobody_wrote_down_is_named():
    with pytest.raises(Exception, match="how many training images nowhere has is not in train_images.toml"):
        configured.train_images("nowhere")
    assert configured.train_images("coco") == 118_287


def test_only_tables_of_model_variants_have_a_mini_replication():
    found = {name: tables.load(*name).mini for name in TABLES}
    assert [place for place, when in found.items() if when == "always"] == [("faseg", "4")]
    assert found["mask2former", "4a"] == "on request"
    assert found["mask2former", "xia"] is None and found["faseg", "1"] is None

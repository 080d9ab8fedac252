"""What a record can say beside plain cells: presets by column, exceptions, sideways tables, claims."""

import pytest

from tables import RecordError
from tests.tables.sample import GOOD, load


def test_only_numbers_need_a_preset(tmp_path):
    text = GOOD.replace('dataset = "ade20k"\nprotocol = "acc', 'dataset = "coco"\nprotocol = "acc')
    text = text.replace('miou = "47.2"', 'miou = "-"')
    assert load(tmp_path, text).rows[0].preset == {"ade20k": "system_r50_ade20k"}
    with pytest.raises(RecordError, match=r"row\[1\]\.preset\.coco: missing preset"):
        load(tmp_path, text.replace('params = "44", miou = "-"', 'params = "44", miou = "47.2"'))


def test_a_column_can_have_its_own_preset(tmp_path):
    text = GOOD.replace('label = "mIoU"', 'label = "mIoU"\npreset = "other"')
    with pytest.raises(RecordError, match=r"row\[1\]\.preset\.other: missing preset"):
        load(tmp_path, text)
    two = text.replace(
        '{ ade20k = "system_r50_ade20k" }', '{ ade20k = "system_r50_ade20k", other = "another" }'
    )
    record = load(tmp_path, two)
    assert [record.rows[0].preset[column.preset_key] for column in record.columns] == [
        "system_r50_ade20k",
        "another",
    ]


def test_none_in_overrides_is_nothing(tmp_path):
    seen = []
    text = GOOD.replace('miou = "47.2" }', 'miou = "47.2" }\n[row.overrides]\n"decoder.exchange" = "none"')
    record = load(tmp_path, text, lambda *asked: seen.append(asked))
    assert record.rows[0].overrides == {"decoder.exchange": None}
    assert seen == [("system_r50_ade20k", {"decoder.exchange": None}, None)]


def test_a_cell_can_differ_from_its_row_and_column(tmp_path):
    single = '[row.differs.miou]\nprovenance = "re-run"\nprotocol = "accuracy/other-v1"'
    record = load(tmp_path, GOOD.replace('miou = "47.2" }', f'miou = "47.2" }}\n{single}'))
    first, second = record.rows
    found = [(cell.provenance, cell.protocol) for cell in (*first.cells.values(), *second.cells.values())]
    assert found == [
        ("own run", "params/all-v1"),
        ("re-run", "accuracy/other-v1"),
        ("quoted", "params/all-v1"),
        ("quoted", "accuracy/miou-single-scale-v1"),
    ]


def test_a_table_printed_sideways_counts_its_lines_by_metric(tmp_path):
    upright = load(tmp_path, GOOD)
    assert [upright.line(row, column) for row, column, _ in upright.cells] == [
        (1, "first"),
        (1, "first"),
        (2, "second"),
    ]
    record = load(tmp_path, GOOD.replace('source = "Table 1"', 'source = "Table 1"\nsideways = true'))
    assert [(record.line(row, column), cell.text) for row, column, cell in record.cells] == [
        ((1, "#P (M)"), "44"),
        ((1, "#P (M)"), "1,317"),
        ((2, "mIoU"), "47.2"),
    ]


def test_what_the_text_says_can_be_a_bound_a_column_further_or_the_number_itself(tmp_path):
    said = 'minus = 1\nminus_column = "params"\nrelation = "more than"'
    mention = '[[mention]]\nwhere = "Abstract"\ncolumn = "params"\nrow = 2\nvalue = "1,317"\n\n[[claim]]'
    record = load(tmp_path, GOOD.replace("minus = 1", said).replace("[[claim]]", mention))
    (claim,), (named,) = record.claims, record.mentions
    assert (claim.minus_column, claim.relation) == ("params", "more than")
    assert (named.where, named.column, named.row, named.value.value) == ("Abstract", "params", 2, 1317)

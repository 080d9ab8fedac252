"""FASeg Table 4 as printed, and every kind of mistake in a record with its file, line and key."""

import pytest

import tables
from tables import RecordError
from tables.names import natural, table_id
from tests.tables.sample import GOOD, load


def test_faseg_table_4_is_as_printed():
    record = tables.load("faseg", "4")
    printed = [[row.cells[column.id].text for column in record.columns] for row in record.rows]
    assert printed == [
        ["47.2", "79.4", "44", "71"],
        ["47.7", "80.0", "44", "71"],
        ["47.6", "79.8", "50", "72"],
        ["48.3", "80.5", "51", "72"],
    ]
    assert [row.label for row in record.rows] == ["Mask2Former", "+ DFPQ", "+ HRCA", "+ DFPQ + HRCA"]
    assert [(c.metric, c.unit, c.dataset) for c in record.columns] == [
        ("miou", "%", "ade20k"),
        ("miou", "%", "cityscapes"),
        ("params", "M", "ade20k"),
        ("flops", "G", "ade20k"),
    ]
    assert record.column("flops").size == (512, 512)
    assert len(record.cells) == 16
    assert [cell.printed.decimals for _, _, cell in record.cells] == [1, 1, 0, 0] * 4
    assert "1.095 G" in record.rows[3].cells["flops"].reason
    assert [row.number for row in record.rows if row.cells["flops"].reason] == [4]


def test_the_text_of_faseg_agrees_with_its_table_4():
    record = tables.load("faseg", "4")
    assert len(record.claims) == 8
    for claim in record.claims:
        row, minus = (record.row(n).cells[claim.column].printed.value for n in (claim.row, claim.minus))
        assert row - minus == claim.value.value


def test_a_good_file_loads(tmp_path):
    record = load(tmp_path, GOOD)
    assert (record.paper, record.table, record.title) == ("paper", "1", "A table")
    assert [cell.text for _, _, cell in record.cells] == ["44", "47.2", "1,317"]  # the dash is no cell
    assert record.rows[0].cells["params"].reason == "because of this"
    assert record.rows[1].preset == {}
    assert record.deviations == ("one [with brackets] = 3", "two")


MISTAKES = [
    # what is replaced, by what, how the line begins that is named, the key, what the message says
    (
        'metric = "params"',
        'metric = "parmas"',
        "metric = ",
        "column[1].metric",
        "unknown metric 'parmas'; nearest: params",
    ),
    ('unit = "M"', 'unit = "MB"', "unit = ", "column[1].unit", "unknown unit of params 'MB'"),
    (
        'unit = "M"',
        'unit = "K"',
        "cells = {",
        "row[1].cells.params",
        "no plausible value of params in K (1,000 to 5e+06)",
    ),
    (
        'miou = "47.2"',
        'miou = "0.472"',
        "cells = {",
        "row[1].cells.miou",
        "no plausible value of miou in % (1 to 100)",
    ),
    ('params = "44"', 'params = "44G"', "cells = {", "row[1].cells.params", "not in the column's unit, M"),
    (
        'params = "44"',
        'params = "fourty"',
        "cells = {",
        "row[1].cells.params",
        "'fourty' is not a printed number",
    ),
    (
        'params = "44"',
        "params = 44",
        "cells = {",
        "row[1].cells.params",
        "must be a string exactly as printed, not 44",
    ),
    (
        'label = "second"',
        'label = "first"',
        "label = ",
        "row[2].label",
        "duplicate row 'first', already row 1",
    ),
    ('id = "miou"', 'id = "params"', "id = ", "column[2].id", "duplicate column 'params', already column 1"),
    ('preset = { ade20k = "system_r50_ade20k" }\n', "", "[[row]]", "row[1].preset.ade20k", "missing preset"),
    ('preset = { ade20k = "s', 'preset = { ade = "s', "preset = ", "row[1].preset.ade20k", "missing preset"),
    ('miou = "-"', 'muou = "-"', "muou = ", "row[2].cells.muou", "unknown column 'muou'; nearest: miou"),
    ('miou = "-"\n', "", "[row.cells]", "row[2].cells.miou", 'missing; a cell without a number is "-"'),
    (
        'provenance = "quoted"',
        'provenance = "qoted"',
        "provenance = ",
        "row[2].provenance",
        "nearest: quoted",
    ),
    ('label = "second"', 'lable = "second"', "lable = ", "row[2].lable", "unknown key; nearest: label"),
    ('label = "second"\n', "", "[[row]]", "row[2].label", "missing"),
    ('title = "A table"\n', "", "source = ", "title", "missing"),
    ("relative = 0.01", "relative = 1.5", "tolerance = ", "column[1].tolerance", "out of range"),
    (
        "relative = 0.01",
        'relative = "1 %"',
        "tolerance = ",
        "column[1].tolerance.relative",
        "must be a number, not '1 %'",
    ),
    ("row = 1\n", "row = 3\n", "row = ", "reason[1].row", "there is no row 3; rows count from 1 to 2"),
    (
        "[[claim]]",
        '[[reason]]\nrow = 1\ncolumn = "params"\ntext = "again"\n[[claim]]',
        "[[reason]]",
        "reason[2]",
        "a second reason for row 1, column 'params'",
    ),
    ('value = "1,273"', 'value = "-"', "value = ", "claim[1].value", "must be a number"),
    (
        'where = "Section 1"\ncolumn = "params"',
        'where = "Section 1"\ncolumn = "parms"',
        "column = ",
        "claim[1].column",
        "unknown column 'parms'; nearest: params",
    ),
    (
        'row = 1\ncolumn = "params"',
        'row = 1\ncolumn = "parms"',
        "column = ",
        "reason[1].column",
        "unknown column 'parms'; nearest: params",
    ),
    ("minus = 1", "minus = 0", "minus = ", "claim[1].minus", "there is no row 0; rows count from 1 to 2"),
    (
        'miou = "47.2" }',
        'miou = "47.2" }\nprinted_delta = { muou = "+0.4" }',
        "printed_delta = ",
        "row[1].printed_delta.muou",
        "unknown column 'muou'; nearest: miou",
    ),
    (
        'miou = "47.2" }',
        'miou = "47.2" }\nprinted_delta = { miou = "0.4" }',
        "printed_delta = ",
        "row[1].printed_delta.miou",
        "must be a signed number, not '0.4'",
    ),
    (
        'miou = "-"',
        'miou = "-"\n[row.printed_delta]\nmiou = "+0.4"',
        "miou = ",
        "row[2].printed_delta.miou",
        "the cell beside it has no number",
    ),
    (
        'provenance = "quoted"',
        'provenance = "quoted"\ndelta_from = 3',
        "delta_from = ",
        "row[2].delta_from",
        "there is no row 3",
    ),
    (
        'miou = "-"',
        'miou = "-"\n[row.differs.miou]\nprovenance = "re-runs"',
        "provenance = ",
        "row[2].differs.miou.provenance",
        "nearest: re-run",
    ),
    (
        'miou = "-"',
        'miou = "-"\n[row.differs.miou]\nunit = "M"',
        "unit = ",
        "row[2].differs.miou.unit",
        "unknown key",
    ),
    (
        'label = "mIoU"',
        'label = "mIoU"\nline = 1',
        "line = ",
        "column[2].line",
        "only in a table with sideways = true",
    ),
    (
        'value = "1,273"',
        'value = "1,273"\nrelation = "atmost"',
        "relation = ",
        "claim[1].relation",
        "nearest: at most",
    ),
    (
        "minus = 1",
        'minus = 1\nminus_column = "miuo"',
        "minus_column = ",
        "claim[1].minus_column",
        "unknown column 'miuo'; nearest: miou",
    ),
    (
        "[[claim]]",
        '[[mention]]\nwhere = "Abstract"\ncolumn = "params"\nrow = 3\nvalue = "44"\n[[claim]]',
        "row = ",
        "mention[1].row",
        "there is no row 3",
    ),
    *(
        (
            "tolerance = { relative = 0.01 }",
            f"size = {size}",
            "size = ",
            "column[1].size",
            f"must be [height, width], not {size}",
        )
        for size in ("[512]", "[512, 0]", "[512, 512.5]")
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "says"), MISTAKES)
def test_mistakes_are_named_by_file_line_and_key(tmp_path, old, new, line, key, says):
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    with pytest.raises(RecordError) as caught:
        load(tmp_path, text)
    file = tmp_path / "paper" / "table1.toml"
    named, key_and_message = str(caught.value).removeprefix(f"{file}:").split(": ", 1)
    assert text.splitlines()[int(named) - 1].startswith(line)
    assert key_and_message.startswith(f"{key}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_flops_in_the_wrong_scale_are_implausible(tmp_path):
    text = GOOD.replace('metric = "params"\nunit = "M"', 'metric = "flops"\nunit = "G"')
    assert load(tmp_path, text).rows[1].cells["params"].text == "1,317"
    with pytest.raises(RecordError, match=r"table1\.toml:29: .*'73,000' is no plausible value of flops in G"):
        load(tmp_path, text.replace('params = "44"', 'params = "73,000"'))


def test_broken_toml_names_the_line(tmp_path):
    with pytest.raises(RecordError, match=r"table1\.toml: .*line 12"):
        load(tmp_path, GOOD.replace('unit = "M"', 'unit = "M'))


def test_presets_are_checked_by_the_caller(tmp_path):
    seen = []

    def check(name, overrides, variant):
        seen.append((name, overrides, variant))
        raise ValueError("no preset 'system_r50_ade20k'")

    with pytest.raises(RecordError, match=r"table1\.toml:28: row\[1\]\.preset\.ade20k: no preset"):
        load(tmp_path, GOOD, check)
    assert seen == [("system_r50_ade20k", {}, None)]


def test_a_row_that_cannot_be_built_says_why(tmp_path):
    text = GOOD.replace(
        'preset = { ade20k = "system_r50_ade20k" }', 'unbuildable = "the code was not released"'
    )
    assert load(tmp_path, text).rows[0].unbuildable == "the code was not released"


def test_unknown_papers_and_tables_name_the_nearest():
    with pytest.raises(RecordError, match="unknown paper 'fasge'; nearest: faseg"):
        tables.load("fasge", "4")
    with pytest.raises(RecordError, match="faseg has no table '44'; nearest: 4"):
        tables.load("faseg", "44")


def test_every_record_in_the_house_loads():
    found = [(paper, name) for paper in tables.papers() for name in tables.tables(paper)]
    assert ("faseg", "4") in found
    for paper, name in found:
        record = tables.load(paper, name)
        assert (record.paper, record.table) == (paper, name)
        assert tables.paper(paper).name


def test_table_names():
    assert [table_id(text) for text in ("4", "Table 4a", "B.2", "IV", "Fig. 1")] == [
        "4",
        "4a",
        "b2",
        "iv",
        "fig1",
    ]
    assert sorted(["10", "4a", "b2", "4", "b10"], key=natural) == ["4", "4a", "10", "b2", "b10"]
    roman = ["i", "iii", "iv", "v", "viii", "ix", "x", "xa", "xb", "xia", "xid"]
    assert sorted(["supplement", "7", "figi", *reversed(roman)], key=natural) == [
        "7",
        *roman,
        "figi",
        "supplement",
    ]

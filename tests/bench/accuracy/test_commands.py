"""The command of every accuracy cell: it parses, its model fits the data, and it says what is missing."""

import functools
from urllib.parse import urlsplit

import pytest

import tables
from bench import accuracy, cells
from bench.accuracy.plan import plan
from bench.cli import build_parser, main
from bench.counting import cell_spec
from bench.data.classes import dataset_classes
from bench.getting import page_of
from bench.tasks import key_task, split_preset, task_info, things_first
from tables.metrics import ACCURACY

TABLES = [(paper, table) for paper in tables.papers() for table in tables.tables(paper)]


@functools.cache
def load(paper, table):
    return tables.load(paper, table)


def accuracy_cells(paper, table):
    """The cells of rows that resolve."""
    record = load(paper, table)
    return [
        (record, row, column, cell)
        for row, column, cell in record.cells
        if column.metric in ACCURACY and column.preset_key in row.preset
    ]


@pytest.fixture
def quickly(monkeypatch):
    """Tables are read once."""
    monkeypatch.setattr(cells, "load_table", load)


@pytest.mark.parametrize(("paper", "table"), TABLES)
def test_a_command_without_its_data_names_the_page(paper, table, capsys, quickly, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = {}
    for place in accuracy_cells(paper, table):
        text = accuracy.command(*place)
        if text is None:
            assert isinstance(plan(*place[2:]), str)
            continue
        told[text.split(" && ")[0].removeprefix("python -m bench ")] = place[2].dataset
    for text, dataset in told.items():
        assert main(text.split()) == 2, text
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and urlsplit(page_of(dataset)).netloc in error, (text, error)
    assert not list(tmp_path.iterdir())


def test_every_part_of_every_command_parses():
    parser, count = build_parser(), 0
    for name in TABLES:
        for place in accuracy_cells(*name):
            for part in (accuracy.command(*place) or "").split(" && "):
                if part:
                    args = parser.parse_args(part.removeprefix("python -m bench ").split())
                    assert args.dataset == place[2].dataset
                    count += 1
    assert count > 800


def test_the_model_of_every_cell_fits_the_classes_and_the_task():
    for name in TABLES:
        for record, row, column, cell in accuracy_cells(*name):
            asked = plan(column, cell)
            if isinstance(asked, str):
                continue
            spec, where = cell_spec(row, column), (record.paper, record.table, row.number, column.id)
            task = key_task(column.preset_key) or split_preset(row.preset[column.preset_key])[1]
            info = task_info(dataset_classes(column.dataset), task, things_first(spec))
            assert spec.num_classes == info.num_classes, where
            assert asked.task in spec.inference.build().tasks, where


def test_commands_of_released_and_of_trained_rows():
    record = load("faseg", "4")
    row, column = record.row(4), record.column("ade20k_miou")
    assert accuracy.command(record, row, column, row.cells[column.id]) == (
        "python -m bench eval --table faseg/4 --row 4 --column ade20k_miou --weights released"
        " --accept-licence --dataset ade20k --root DIR"
    )
    row = record.row(2)
    assert accuracy.command(record, row, column, row.cells[column.id]) == (
        "python -m bench train --table faseg/4 --row 2 --dataset ade20k --root DIR --backbone-weights FILE"
    )


def test_scores_of_one_evaluation_share_their_command():
    record = load("mask2former", "i")
    row = next(row for row in record.rows if row.label == "Mask2Former (ours), R50")
    found = {
        column.id: accuracy.command(record, row, column, row.cells[column.id])
        for column in record.columns
        if column.metric in ACCURACY
    }
    assert found["pq"] == found["pq_things"] == found["pq_stuff"] and "--column pq " in found["pq"]
    assert len({found["pq"], found["ap_pan"], found["miou_pan"]}) == 3


def test_a_score_that_training_does_not_tell_is_evaluated_afterwards():
    record = load("pft", "ii")
    row = next(row for row in record.rows if row.preset.get("ade20k") == "pft_r50_ade20k")
    text = accuracy.command(record, row, record.column("miou_ms"), row.cells["miou_ms"])
    assert text == (
        f"python -m bench train --table pft/ii --row {row.number} --dataset ade20k --root DIR"
        " --backbone-weights FILE && python -m bench eval"
        f" --run runs/pft-tableii-row{row.number}-ade20k-0 --dataset ade20k --root DIR"
        " --task semantic --multi-scale"
    )


def test_panoptic_segformer_4_is_trained_and_scored_on_objects():
    record = load("panoptic_segformer", "4")
    row, column = record.row(8), record.column("ap")
    text = accuracy.command(record, row, column, row.cells["ap"])
    assert text.startswith(
        "python -m bench train --table panoptic_segformer/4 --row 8 --column ap --dataset coco"
    )
    assert "&&" not in text
    assert accuracy.remark(column, row.cells["ap"]).startswith("the labels of test-dev are not public")


def test_cells_whose_protocol_was_not_published_have_no_command():
    record = load("mask2former", "vii")
    row = next(row for row in record.rows if "cityscapes_panoptic" in row.preset)
    column = next(column for column in record.columns if column.metric == "pq_ms")
    cell = row.cells[column.id]
    assert accuracy.command(record, row, column, cell) is None
    assert accuracy.remark(column, cell) == "how segments of several scales become one map is not published"


def test_a_split_that_is_not_the_columns_is_refused(capsys):
    command = ["eval", "--table", "faseg/4", "--row", "4", "--column", "ade20k_miou", "--dataset", "ade20k"]
    assert main([*command, "--split", "train"]) == 2
    assert "--split train: column ade20k_miou of faseg/4 is of 'val'" in capsys.readouterr().err

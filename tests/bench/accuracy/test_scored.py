"""Evaluations of released weights become evidence for the cells that they are of, and for no others."""

import hashlib
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

import tables
from bench import cells
from bench.accuracy import released
from bench.accuracy.evidence import Evidence, find, put
from bench.accuracy.plan import Plan, plan
from bench.accuracy.scored import keep
from bench.cli import main
from bench.counting import cell_spec
from bench.data import registry
from bench.evaluate import TestSpec
from bench.getting.check import Expected
from bench.getting.weights import releases
from bench.options import Chosen, ModelChoice
from bench.records import Store
from bench.render import verdict_line
from bench.render_cells import paper_table
from bench.render_weights import weights
from models import to_official
from models.spec import SpecError


def keep_all(place, weights, official, tmp_path):
    """What `keep` does with scores of all of ADE20K's validation split by a row's model."""
    paper, table, row, key = place
    column = next(c for c in tables.load(paper, table).columns if c.preset_key == key)
    row = tables.load(paper, table).row(row)
    model = ModelChoice("model", cell_spec(row, column), "ade20k", "semantic", row.preset[key], place)
    torch.save({"model": {}}, tmp_path / "theirs.pth")
    dataset = mock.MagicMock(skipped=(), **{"__len__.return_value": 2000})
    dataset.info.name = "ade20k"
    evaluation = SimpleNamespace(weights=tmp_path / "theirs.pth", dataset=dataset, model=model.spec)
    told = {"weights": "3f", "data": {"checksum": "c"}, "code": "v", "first_output": "f"}
    result = SimpleNamespace(storable=lambda: {"mIoU": 48.3}, description=told)
    return keep(Store(), Chosen(model, weights), plan(column), evaluation, result, official)


@pytest.mark.parametrize("weights", ["released", "theirs.pth"])
def test_weights_without_a_printed_hash_fill_the_cells_of_their_row(weights, tmp_path):
    place = ("faseg", "4", 4, "ade20k")  # the page of FASeg prints no hash
    assert not releases("faseg_r50_ade20k")[0].expected.digest
    (words,) = keep_all(place, Path(weights), weights != "released", tmp_path)
    assert words.startswith("kept as evidence")
    found = measured(tables.load("faseg", "4"), Store())
    assert found[4, "ade20k_miou"].measured == Decimal("48.3")


def test_a_file_that_is_not_the_one_with_the_printed_hash_fills_nothing(tmp_path):
    keep_all(("faseg", "4", 1, "ade20k"), Path("theirs.pth"), True, tmp_path)
    assert not measured(tables.load("faseg", "4"), Store())


PSF = "panoptic_segformer_r50_coco"


@pytest.mark.parametrize(
    ("preset", "place", "name"),
    [
        (PSF, None, None),  # of 12 or of 24 epochs?
        (PSF, ("panoptic_segformer", "1", 7, "coco_panoptic"), "panformer/panformer_r50_12e"),
        ("faseg_r50_ade20k", None, "ade20k/semantic-segmentation/faseg_r50"),
        ("faseg_r50_ade20k", ("faseg", "4", 2, "ade20k"), None),
        ("mask2former_r50_ade20k", None, None),
    ],
)
def test_which_release_a_file_is_said_to_be(preset, place, name):
    found = released.said_to_be(ModelChoice("", None, "ade20k", "semantic", preset, place))
    assert found is None if name is None else found.name.startswith(name)


def evidence(**changes):
    basis = {
        "scores": {"mIoU": 47.23, "per_class": [None]},
        "weights": "theirs, CC-BY-NC", "file": "1f", "images": 2000,
        "release": "ade20k/semantic-segmentation/maskformer2_R50_bs16_160k",
        "checksum": "c", "code": "v", "first_output": "f",
    }  # fmt: skip
    return Evidence(**basis | changes)


@pytest.fixture
def record():
    return tables.load("faseg", "4")


def kept(record, row, column, **changes):
    """A store with the scores of a row's released weights."""
    store, column = Store(), record.column(column)
    spec = cell_spec(record.row(row), column)
    put(store, spec, column.dataset, plan(column), evidence(**changes))
    return store


def measured(record, store, kinds=("official-weights",)):
    return {
        (result.row.number, result.column.id): result
        for result in cells.fill(record, kinds, store)
        if result.measured is not None
    }


def test_released_weights_fill_the_cell_of_their_row(record):
    found = measured(record, kept(record, 1, "ade20k_miou"))
    assert list(found) == [(1, "ade20k_miou")]
    result = found[1, "ade20k_miou"]
    assert (result.measured, result.verdict, result.evidence) == (Decimal("47.23"), "=", "official-weights")
    assert result.weights == "theirs, CC-BY-NC" and result.protocol == "accuracy/miou-single-scale-v1"
    everything = cells.fill(record, ("official-weights",), kept(record, 1, "ade20k_miou"))
    assert "1 of 1 official-weights cell equal" in verdict_line(record, everything)
    told = "- `official-weights`: Mask2Former (ADE20K val mIoU s.s. (%)): theirs, CC-BY-NC."
    assert weights(everything)[2] == told


def test_the_same_model_fills_the_cells_of_every_table(record):
    store = kept(record, 1, "ade20k_miou")
    other = measured(tables.load("mask2former", "3"), store)
    assert {place[1] for place in other} == {"miou"} and len(other) == 1


def test_evidence_that_was_not_asked_for_fills_nothing(record):
    store = kept(record, 1, "ade20k_miou")
    assert not measured(record, store, ("counted-not", "trained"))
    assert not measured(record, kept(record, 1, "ade20k_miou", release="another"))
    assert not measured(record, kept(record, 1, "ade20k_miou", scores={"mIoU": None}))
    assert not measured(record, kept(record, 2, "ade20k_miou"))  # a row that nobody released


def test_columns_of_two_kinds_say_so(record):
    results = cells.fill(record, ("official-weights",), kept(record, 1, "ade20k_miou"))
    assert "mixes" not in "\n".join(paper_table(record, results))
    at = next(n for n, r in enumerate(results) if (r.row.number, r.column.id) == (2, "ade20k_miou"))
    results[at] = replace(results[at], measured=Decimal("47.0"))
    text = "\n".join(paper_table(record, results))
    assert "ADE20K val mIoU s.s. (%) mixes `official-weights` (Mask2Former); `trained` (+ DFPQ)." in text


def test_evaluations_of_several_files_are_kept_beside_each_other(record):
    store, column = kept(record, 1, "ade20k_miou"), record.column("ade20k_miou")
    spec, asked = cell_spec(record.row(1), column), plan(column)
    put(store, spec, "ade20k", asked, evidence(file="2f", release="another"))
    found = find(store, spec, "ade20k", asked)
    assert [one.file for one in found] == ["1f", "2f"]
    assert not find(store, spec, "ade20k", replace(asked, multi_scale=True))


@pytest.mark.parametrize(
    ("paper", "table", "label", "key", "name"),
    [
        ("mask2former", "i", "Mask2Former (ours), Swin-B†", "coco_panoptic", "swin_base_IN21k"),
        ("mask2former", "i", "Mask2Former (ours), Swin-B", "coco_panoptic", "swin_base_384"),
        ("panoptic_segformer", "1", "Panoptic SegFormer, R50, 12 epochs", "coco_panoptic", "r50_12e"),
        ("panoptic_segformer", "b3", "α 1, β 0", "coco_panoptic", "r50_24e"),  # changes inference alone
        (
            "mask2former",
            "i",
            "MaskFormer, Swin-B",
            "coco_panoptic",
            None,
        ),  # its release was pre-trained otherwise
        ("faseg", "9", "Mask2former, R50", "coco", None),  # FASeg's own training of it
        ("faseg", "4", "+ DFPQ", "ade20k", None),
        ("pft", "ii", "PFT (ours), R50", "ade20k", None),
    ],
)
def test_which_release_is_of_a_row(paper, table, label, key, name):
    record = tables.load(paper, table)
    row = next(row for row in record.rows if row.label == label)
    entry = released.of_row(record, row, key)
    assert (entry and name in entry.name) if name else entry is None


def test_weights_in_a_file_are_told_by_their_hash(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"weights")
    entry = releases("mask2former_r50_ade20k")[0]
    digest = hashlib.md5(b"weights").hexdigest()[:6]
    right = replace(entry, expected=Expected(7, "md5", digest))
    wrong = replace(entry, expected=Expected(7, "md5", "0" * 6))
    small = replace(entry, expected=Expected(6))
    unknown = replace(entry, expected=Expected())
    assert released.in_file(path, [wrong, small, unknown]) is None
    assert released.in_file(path, [wrong, right]) is right


def test_columns_change_the_model_further():
    record = tables.load("panoptic_segformer", "b4")
    spec = cell_spec(record.row(1), record.column("keep_09"))
    kept = spec.inference.keep_things, spec.inference.keep_stuff, spec.inference.confidence_things
    assert kept == (0.9, 0.9, 0.2)
    wrong = replace(record.column("keep_09"), overrides={"inference.kep": 1})
    with pytest.raises(SpecError, match="inference.keep"):
        cell_spec(record.row(1), wrong)


@pytest.mark.parametrize(
    ("paper", "table", "column", "expected"),
    [
        ("faseg", "1", "miou_ms", Plan(task="semantic", score="mIoU", multi_scale=True)),
        ("mask2former", "i", "ap_pan", Plan(task="instance", score="AP")),
        ("mask2former", "iii", "ap_boundary", Plan(task="instance", score="AP", boundary=True)),
        (
            "mask2former",
            "vi",
            "score",
            Plan(task="semantic", score="score", multi_scale=True, private="test"),
        ),
        ("panoptic_segformer", "7", "boundary_sq", Plan(task="panoptic", score="SQ", boundary=True)),
        (
            "panoptic_segformer",
            "11",
            "glass",
            Plan(task="panoptic", score="PQ", images=2000, corruption="glass"),
        ),
        (
            "panoptic_segformer",
            "11",
            "mean",
            Plan(task="panoptic", score="PQ", images=2000, corruption="all"),
        ),
    ],
)
def test_what_columns_ask_for(paper, table, column, expected):
    assert plan(tables.load(paper, table).column(column)) == expected


SMALL = ["backbone.width=8", "backbone.layers=[1,1,1,1]", "decoder.schedule=[32]", "decoder.num_queries=5"]


@pytest.fixture
def ade20k(tmp_path, monkeypatch):
    """A validation split of two images, as if that were all."""
    for folder, size in (("images", (48, 64, 3)), ("annotations", (48, 64))):
        (tmp_path / "data" / folder / "validation").mkdir(parents=True)
        for name in ("a", "b"):
            path = tmp_path / "data" / folder / "validation" / f"{name}.{'jpg' if len(size) == 3 else 'png'}"
            Image.fromarray(np.full(size, 7, np.uint8)).save(path)
    monkeypatch.setattr(registry.import_module("bench.data.ade20k"), "COUNTS", {"val": 2})
    monkeypatch.setattr("bench.train.recipes.test_recipe", lambda *_: TestSpec())
    return tmp_path / "data"


def test_eval_keeps_the_whole_split_of_official_weights_only(ade20k, tmp_path, capsys):
    from bench.options import model_changes
    from models import preset

    spec = preset("mask2former_r50_ade20k").override(model_changes(SMALL))
    torch.save(to_official(spec.build()), tmp_path / "theirs.pth")
    changes = [part for change in SMALL for part in ("--set", change)]
    command = ["eval", "--preset", "mask2former_r50_ade20k", *changes, "--dataset", "ade20k", "--json"]
    command += ["--root", str(ade20k), "--weights", str(tmp_path / "theirs.pth"), "--device", "cpu"]
    for extra, says in (
        ([], "no page of authors that is known here lists theirs.pth"),
        (["--official", "--limit", "1"], "not kept as evidence: 1 images, the 'val' split of ade20k has 2"),
        (
            ["--official"],
            "kept as evidence, official-weights: weights: theirs.pth, said to be the authors' own",
        ),
    ):
        assert main([*command, *extra]) == 0
        printed = capsys.readouterr()
        assert says in printed.err
    scores = json.loads(printed.out)
    (found,) = find(Store(), spec, "ade20k", Plan(task="semantic", score="mIoU"))
    assert found.scores["mIoU"] == scores["mIoU"] and found.images == 2 and len(found.file) == 64

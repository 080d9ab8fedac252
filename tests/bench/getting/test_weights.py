"""Fetching released weights."""

import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest

from bench.cli import main
from bench.errors import UserError
from bench.getting import weights
from bench.getting.check import Expected
from bench.getting.registry import Licence, ReleasedWeights, registry
from bench.getting.weights import backbone_for, fetch_backbone, fetch_weights, how_to_get
from models import presets

CHECKPOINT = pickle.dumps({"model": {"a": np.zeros(1000, np.float32)}}, protocol=2)
MD5 = hashlib.md5(CHECKPOINT).hexdigest()[:6]
LICENCE = Licence("CC-BY-NC-4.0", "https://example.org/licence", "non-commercial use only")


@pytest.fixture
def entry(server, monkeypatch):
    """Released weights of the preset "net_r50", and the file as it is served."""
    served, url = server.serve(f"model_{MD5}.pkl", CHECKPOINT)
    entry = ReleasedWeights(
        "net_r50", "config/net_r50", url, f"model_{MD5}.pkl", "https://example.org/zoo", LICENCE,
        Expected(algorithm="md5", digest=MD5),
    )  # fmt: skip
    other = replace(entry, name="config/net_r50_long", url=url.replace("model", "other"), file="other.pkl")
    found = replace(registry(), weights=(entry, other))
    monkeypatch.setattr(weights, "registry", lambda: found)
    return entry, served


def test_a_licence_is_shown_and_has_to_be_accepted(entry, tmp_path):
    with pytest.raises(UserError) as error:
        fetch_weights("net_r50", False, tmp_path)
    assert str(error.value) == (
        "the weights config/net_r50 are under the licence CC-BY-NC-4.0 (https://example.org/licence; "
        "non-commercial use only): add --accept-licence to accept it and download them"
    )
    assert entry[1].asked == [] and list(tmp_path.iterdir()) == []


def test_accepted_weights_are_fetched_once(entry, tmp_path, monkeypatch, heard):
    monkeypatch.setenv("MASKBENCH_STORE", str(tmp_path))
    path = fetch_weights("net_r50", True, report=heard)
    assert path == tmp_path / "weights" / "net_r50" / f"model_{MD5}.pkl"
    assert path.read_bytes() == CHECKPOINT
    assert heard.lines == [f"downloading config/net_r50, licence: {LICENCE}"]
    assert fetch_weights("net_r50", False) == path and entry[1].asked == [None]


def test_weights_that_were_damaged_since_are_not_used(entry, tmp_path):
    path = fetch_weights("net_r50", True, tmp_path)
    path.write_bytes(CHECKPOINT[:-1] + b"?")
    with pytest.raises(UserError, match="it is not a whole pickle; delete it to download it again"):
        fetch_weights("net_r50", True, tmp_path)


def test_weights_without_a_printed_hash_are_pinned(entry, tmp_path, monkeypatch, heard):
    bare = replace(entry[0], expected=Expected())
    monkeypatch.setattr(weights, "registry", lambda: replace(registry(), weights=(bare,)))
    path = fetch_weights("net_r50", True, tmp_path, report=heard)
    assert (
        heard.lines[1] == f"{bare.file}: no hash of it is printed; it is trusted as it comes, and pinned then"
    )
    changed = CHECKPOINT.replace(b"\0\0\0\0", b"\0\0\0\1")
    path.write_bytes(changed)
    with pytest.raises(UserError, match="at first it began with"):
        fetch_weights("net_r50", True, tmp_path)


def test_releases_are_chosen_by_name(entry, server, tmp_path):
    server.serve(f"other_{MD5}.pkl", CHECKPOINT)
    assert fetch_weights("net_r50", True, tmp_path, name="config/net_r50_long").name == "other.pkl"
    with pytest.raises(UserError, match="no released weights 'x': config/net_r50, config/net_r50_long"):
        fetch_weights("net_r50", True, tmp_path, name="x")


def test_weights_that_a_person_has_to_fetch(entry, tmp_path, monkeypatch):
    by_hand = replace(entry[0], url=None, expected=Expected())
    monkeypatch.setattr(weights, "registry", lambda: replace(registry(), weights=(by_hand,)))
    path = tmp_path / "net_r50" / by_hand.file
    with pytest.raises(UserError) as error:
        fetch_weights("net_r50", True, tmp_path)
    assert str(error.value) == (
        f"config/net_r50 can only be had by hand: get {by_hand.file} from https://example.org/zoo "
        f"and put it at {path}; licence: {LICENCE}"
    )
    path.parent.mkdir()
    path.write_bytes(CHECKPOINT)
    assert fetch_weights("net_r50", False, tmp_path) == path
    assert how_to_get("net_r50") == "weights of net_r50 are at https://example.org/zoo, licence CC-BY-NC-4.0"


def test_weights_that_there_are_none_of(tmp_path):
    with pytest.raises(UserError, match="^no weights were released for pft_r50_ade20k: PFT's authors"):
        fetch_weights("pft_r50_ade20k", True, tmp_path)
    assert how_to_get("pft_r50_ade20k").startswith("no weights were released for pft_r50_ade20k")
    assert how_to_get("faseg_r50_ade20k") == (
        "weights of faseg_r50_ade20k are at https://github.com/ziplab/FASeg/blob/main/README.md, "
        "licence CC-BY-NC-4.0, fetched by --weights released --accept-licence"
    )


def test_backbones_are_fetched(entry, tmp_path, monkeypatch):
    net = replace(entry[0], preset="r50")
    monkeypatch.setattr(weights, "registry", lambda: replace(registry(), backbones=(net,)))
    path = fetch_backbone("faseg_r50_ade20k", True, tmp_path)
    assert path == tmp_path / "backbones" / f"model_{MD5}.pkl" and path.read_bytes() == CHECKPOINT
    with pytest.raises(UserError, match="published for the backbone of maskformer_r101c_ade20k"):
        fetch_backbone("maskformer_r101c_ade20k", True, tmp_path)


def test_training_asks_for_the_licence_of_backbone_weights(capsys, tmp_path):
    words = ["--preset", "faseg_r50_ade20k", "--dataset", "embedded", "--backbone-weights", "released"]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith(
        "maskbench: the weights resnet50.tv_in1k are under the licence BSD-3-Clause"
    )


@pytest.mark.parametrize(
    ("preset", "file"),
    [
        ("faseg_r50_cityscapes", "resnet50-0676ba61.pth"),
        ("detr_r101_coco_panoptic", "resnet101-63fe2227.pth"),
        ("mask2former_swin_l_coco_panoptic", "swin_large_patch4_window12_384_22k.pth"),
        ("panoptic_segformer_swin_l_coco", "swin_large_patch4_window7_224_22k.pth"),
        ("mask2former_swin_b_ade20k", "swin_base_patch4_window12_384_22k.pth"),
        ("panoptic_segformer_pvt_v2_b5_coco", "pvt_v2_b5_22k.pth"),
    ],
)
def test_each_backbone_has_its_file(preset, file):
    assert backbone_for(preset).file == file


def test_every_preset_has_a_backbone_but_resnet_101c():
    assert {preset for preset in presets() if backbone_for(preset) is None} == {
        preset for preset in presets() if "_r101c_" in preset
    }

"""The registry's data, and what is said of wrong ones."""

import re
import shutil

import pytest

from bench.getting.registry import FOLDER, RegistryError, read_registry, registry
from bench.getting.weights import releases, weights_for, why_none
from models import presets

SYSTEMS = {"mask2former": 47, "maskformer": 21, "faseg": 5, "panoptic_segformer": 5, "detr": 2}
NON_COMMERCIAL = ("mask2former_", "maskformer_", "faseg_")


def test_every_release_is_of_a_preset_and_of_one_name():
    known = set(presets())
    weights = registry().weights
    assert {entry.preset for entry in weights} <= known
    for field in ("name", "url"):
        assert len({getattr(entry, field) for entry in weights}) == len(weights)
    for system, count in SYSTEMS.items():
        assert sum(entry.preset.startswith(f"{system}_") for entry in weights) == count, system


def test_every_preset_has_weights_or_a_reason():
    for preset in presets():
        if releases(preset):
            assert weights_for(preset) == releases(preset)[0]
        else:
            assert re.fullmatch(
                rf"no weights were released for {preset}: .+ \(https://\S+\)", why_none(preset)
            )
    for reason in registry().unreleased:
        assert any(p.startswith(reason.presets) and not releases(p) for p in presets()), reason.presets


def test_licences_are_named():
    for entry in (*registry().weights, *registry().backbones):
        assert entry.licence.name in ("CC-BY-NC-4.0", "Apache-2.0", "MIT", "BSD-3-Clause")
        assert entry.licence.url.startswith("https://")
        limited = entry.preset.startswith(NON_COMMERCIAL)
        assert (entry.licence.name == "CC-BY-NC-4.0") == limited
        assert ("non-commercial" in str(entry.licence)) == limited


def test_hashes_are_as_the_authors_print_them():
    """Mask2Former's and MaskFormer's names end with the beginning of an MD5, DETR's of a SHA-256."""
    coco = weights_for("mask2former_r50_coco_panoptic")
    assert coco.file == "model_final_94dc52.pkl"
    assert (coco.expected.algorithm, coco.expected.digest) == ("md5", "94dc52")
    detr = weights_for("detr_r50_coco_panoptic")
    assert (detr.expected.algorithm, detr.expected.digest) == ("sha256", "00ce5173")
    for entry in registry().weights:
        hashed = not entry.preset.startswith(("faseg_", "panoptic_segformer_"))
        assert bool(entry.expected.digest) == hashed
        assert not hashed or entry.file.rpartition(".")[0].endswith(entry.expected.digest)


def test_releases_of_one_preset_differ_in_what_they_were_trained_on():
    usual, other = releases("mask2former_swin_b_coco_panoptic")
    assert (usual.pretrained, usual.scores["pq"]) == ("ImageNet-22K", "56.4")
    assert (other.pretrained, other.scores["pq"]) == ("ImageNet-1K", "55.1")
    assert [entry.scores["pq"] for entry in releases("panoptic_segformer_r50_coco")] == ["49.6", "48.0"]
    for entry in registry().weights:
        assert all(re.fullmatch(r"\d\d\.\d", value) for value in entry.scores.values()), entry.name


def test_data_sets_have_parts_or_a_way():
    datasets = registry().datasets
    free = {"ade20k": 2, "coco": 4, "coco_stuff10k": 1}
    assert {name: len(found.parts) for name, found in datasets.items() if found.parts} == free
    assert set(datasets) - set(free) == {"cityscapes", "mapillary", "pascal_context", "camvid"}
    assert sum(part.expected.size for part in datasets["coco"].parts) == 21_266_080_503
    for found in datasets.values():
        assert found.licence.name and found.page.startswith("http")
        assert all(part.file.endswith((".zip", ".tar")) for part in found.parts)


DETR = "weights/detr.toml"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            DETR,
            'name = "detr-r101-panoptic"',
            'name = "detr-r50-panoptic"',
            "name 'detr-r50-panoptic' is listed twice",
        ),
        (DETR, "detr-r101-panoptic-40021d53.pth", "detr-r50-panoptic-00ce5173.pth", "url .* is listed twice"),
        (DETR, "-40021d53.pth", ".pth", r"detr\.toml: 'detr-r101-panoptic': .* does not end with a hash"),
        (DETR, "-40021d53.pth", "-40021d53.exe", "is no name of a checkpoint"),
        (DETR, 'licence = "Apache-2.0"', "", "licence is missing"),
        (DETR, 'page = "https', 'page = "ftp', "page 'ftp://.*' is no http address"),
        (DETR, "scores", "score", "there is no key 'score'"),
        (DETR, '"sha256"', '"crc32"', "is not md5:, sha1: or sha256:"),
        (DETR, "[[weights]]", "[[weights", r"detr\.toml: "),
        (
            "datasets.toml",
            'hash_source = "https://github.com/dmlc',
            'holds2 = "https://github.com/dmlc',
            "'ade20k'",
        ),
        ("datasets.toml", 'how = "register, then download left', 'note = "left', "either parts or how"),
        ("datasets.toml", "sha1:219e", "sha1:219X", "is not md5:, sha1: or sha256:"),
    ],
)
def test_wrong_data_are_named(tmp_path, file, old, new, message):
    shutil.copytree(FOLDER, tmp_path / "getting", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    path = tmp_path / "getting" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RegistryError, match=message):
        read_registry(tmp_path / "getting")

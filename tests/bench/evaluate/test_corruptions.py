"""Each corruption does what its definition says, the same in every run, more of it at a higher severity."""

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image

from bench.data import open_dataset
from bench.errors import UserError
from bench.evaluate.corruptions import (
    CORRUPTIONS,
    GROUPS,
    SEVERITIES,
    corrupt,
    corrupted,
    corruption_means,
    corruption_runs,
    shows_frost,
)
from bench.evaluate.corruptions.blur import along
from bench.evaluate.corruptions.weather import plasma

PRINTED = {  # Panoptic SegFormer, Table 11: R50; "mean" is the printed mean of the 16
    "motion": 26.9, "defocus": 30.2, "glass": 17.5, "gaussian_blur": 31.6,
    "gaussian_noise": 35.5, "impulse": 27.9, "shot": 35.4, "speckle": 38.6,
    "brightness": 45.7, "contrast": 31.3, "saturate": 43.9, "jpeg": 29.0,
    "snow": 24.3, "spatter": 35.0, "fog": 41.9, "frost": 32.3,
}  # fmt: skip


PARAMETERS = {  # of ImageNet-C, summed over the severities
    "motion": 118, "defocus": 33.1, "glass": 27.2, "gaussian_blur": 16,
    "gaussian_noise": 1.02, "impulse": 0.62, "shot": 105, "speckle": 1.75,
    "brightness": 1.5, "contrast": 1.05, "saturate": 27.7, "jpeg": 75,
    "snow": 120.45, "spatter": 25.92, "fog": 20.1, "frost": 6.9,
}  # fmt: skip
KEPT = {  # mean and mean change of corruptions/v1 at severity 4, levels of 255
    "motion": (99.5, 16.8), "defocus": (98.3, 15.3), "glass": (98.3, 14.5), "gaussian_blur": (98.3, 14.5),
    "gaussian_noise": (100.9, 49.6), "impulse": (103.8, 21.6), "shot": (97.0, 54.0), "speckle": (98.2, 35.0),
    "brightness": (181.1, 82.3), "contrast": (98.3, 24.1), "saturate": (63.2, 35.6), "jpeg": (99.1, 14.6),
    "snow": (183.5, 84.7), "spatter": (93.9, 5.0), "fog": (98.1, 21.8), "frost": (178.3, 79.6),
}  # fmt: skip


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def data():
    return open_dataset("embedded", size=(64, 96), length=2)


@pytest.fixture(scope="module")
def picture(data):
    return data[0].image.permute(1, 2, 0).numpy()


def distance(one, other):
    return np.abs(one.astype(float) - other).mean()


def test_the_tables_columns():
    assert list(CORRUPTIONS) == list(PRINTED)
    assert [kind.group for kind in CORRUPTIONS.values()] == [g for g in GROUPS for _ in range(4)]
    scores = {(name, severity): PRINTED[name] + severity - 3 for name in PRINTED for severity in SEVERITIES}
    means = corruption_means(scores)
    assert means["jpeg"] == pytest.approx(29.0) and round(means["mean"], 1) == 32.9


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_changes_more_and_a_seed_gives_one_picture(name, picture):
    mild, strong = (corrupt(picture, name, severity, rng()) for severity in (1, 5))
    assert mild.shape == picture.shape and mild.dtype == np.uint8
    assert (corrupt(picture, name, 1, rng()) == mild).all()
    if name != "frost":  # of which severity changes the mixture, not the ice
        assert 0.2 < distance(mild, picture) < distance(strong, picture)
    random = CORRUPTIONS[name].group != "digital" and name not in ("defocus", "gaussian_blur")
    assert (corrupt(picture, name, 5, rng(1)) != strong).any() == random


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_parameters_and_pixels_stay_as_they_are(name, data, picture):
    """Another version of the pixels needs another VERSION, or scores of both would be taken for one."""
    parameters = CORRUPTIONS[name].parameters
    assert len(parameters) == 5
    assert sum(value for row in parameters for value in row) == pytest.approx(PARAMETERS[name])
    changed = corrupted(data, name, 4)[0].image.permute(1, 2, 0).numpy()
    assert (changed.mean(), distance(changed, picture)) == pytest.approx(KEPT[name], abs=0.11)


def test_noise():
    grey = np.full((80, 80, 3), 128, dtype=np.uint8)
    assert corrupt(grey, "gaussian_noise", 1, rng()).std() / 255 == pytest.approx(0.08, rel=0.05)
    assert corrupt(grey, "speckle", 2, rng()).std() / 255 == pytest.approx(0.2 * 0.5, rel=0.05)
    assert corrupt(grey, "shot", 1, rng()).std() / 255 == pytest.approx(math.sqrt(0.5 / 60), rel=0.05)
    salted = corrupt(grey, "impulse", 4, rng())
    assert (salted != 128).mean() == pytest.approx(0.17, rel=0.05)
    assert (salted == 255).mean() == pytest.approx(0.085, rel=0.1)


@pytest.mark.parametrize(("severity", "factor", "added"), [(1, 0.3, 0), (3, 2, 0), (5, 20, 0.2)])
def test_saturation_in_hsv(picture, severity, factor, added):
    picture = np.concatenate([picture, np.full((4, 96, 3), 100, np.uint8), np.zeros((4, 96, 3), np.uint8)])
    hsv = rgb_to_hsv(picture / 255.0)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + added, 0, 1)
    expected = hsv_to_rgb(hsv) * 255
    assert np.abs(corrupt(picture, "saturate", severity, rng()) - expected).max() < 1.001


def test_brightness_in_hsv_and_contrast(picture):
    hsv = rgb_to_hsv(picture / 255.0)
    hsv[..., 2] = np.clip(hsv[..., 2] + 0.3, 0, 1)
    assert np.abs(corrupt(picture, "brightness", 3, rng()) - hsv_to_rgb(hsv) * 255).max() < 1.001
    means = picture.mean((0, 1))
    assert np.abs(corrupt(picture, "contrast", 1, rng()) - (means + 0.4 * (picture - means))).max() < 1.001


def point():
    """A black picture with a white point."""
    dark = np.zeros((61, 61, 3), dtype=np.uint8)
    dark[30, 30] = 255
    return dark


def test_defocus_spreads_a_point_over_a_disk():
    spread = CORRUPTIONS["defocus"].apply(point() / 255.0, rng(), 6, 1e-6)[..., 0]
    steps = np.arange(61) - 30
    disk = steps[:, None] ** 2 + steps**2 <= 36
    assert np.abs(spread - disk / disk.sum()).max() < 1e-9


def test_motion_draws_a_point_out_along_a_line():
    drawn = along(point() / 255.0, 10, 3.0, -90.0)[..., 0]
    weights = np.exp(-(np.arange(21) ** 2) / 18)
    line = np.zeros((61, 61))
    line[30:51, 30] = weights / weights.sum()
    assert np.abs(drawn - line).max() < 1e-9
    flat = along(np.full((20, 30, 3), 0.4), 15, 5.0, 33.0)
    assert np.abs(flat - 0.4).max() < 1e-9  # beyond the border the picture goes on


def test_glass_moves_values_a_few_pixels():
    board = np.zeros((40, 60, 3))
    board[:, 30:] = 1.0
    shuffled = CORRUPTIONS["glass"].apply(board, rng(), 1e-3, 2, 1)[..., 0]
    assert np.isin(shuffled, [0.0, 1.0]).all() and shuffled.sum() == board[..., 0].sum()
    moved = np.flatnonzero((shuffled != board[..., 0]).any(0))
    assert 30 - 2 * 5 < moved.min() < 30 < moved.max() < 30 + 2 * 5 and len(moved) > 3


def test_plasma_is_rough_and_wraps_around():
    cloud = plasma(rng(), 100, 2.0)
    assert cloud.shape == (128, 128) and cloud.min() == 0 and cloud.max() == 1
    steps = np.abs(np.diff(cloud, axis=0)).mean()
    assert np.abs(cloud[0] - cloud[-1]).mean() < 4 * steps < np.abs(cloud[0] - cloud[64]).mean() * 4


def test_mud_is_brown(picture):
    spattered = corrupt(picture, "spatter", 5, rng())
    brown = (np.abs(spattered.astype(int) - [63, 42, 20]) < 20).all(-1).mean()
    assert 0.02 < brown < 0.6


def test_frost_takes_photographs(picture, tmp_path):
    with pytest.raises(UserError, match="no photographs of frost"):
        corrupt(picture, "frost", 1, rng(), tmp_path)
    Image.new("RGB", (40, 50), (200, 100, 50)).save(tmp_path / "ice.png")
    frosty = corrupt(picture, "frost", 2, rng(), tmp_path)
    expected = np.clip(0.8 * picture + 0.6 * np.array([200, 100, 50]), 0, 255)
    assert np.abs(frosty - expected).max() < 1.001
    assert (corrupt(picture, "frost", 2, rng()) != frosty).any()


def test_a_corrupted_data_set(data, tmp_path):
    noisy = corrupted(data, "shot", 3)
    assert len(noisy) == 2 and noisy.info == data.info and noisy.words == "shot, severity 3"
    first, again = noisy[0], corrupted(data, "shot", 3)[0]
    assert torch.equal(first.image, again.image) and first.image.shape == data[0].image.shape
    assert torch.equal(first.semantic, data[0].semantic) and first.name == data[0].name
    assert not torch.equal(first.image, data[0].image)
    same = [sample.image.float() for sample in (first, corrupted(data, "shot", 4)[0])]
    assert not torch.equal(*same)
    Image.new("RGB", (40, 50)).save(tmp_path / "ice.png")
    views = [("shot", 3, None), ("shot", 4, None), ("frost", 4, None), ("frost", 4, tmp_path)]
    sums = {corrupted(data, *view).checksum() for view in views} | {data.checksum()}
    assert len(sums) == 5 and all(len(checksum) == 16 for checksum in sums)
    assert "generated ice stands in" in corrupted(data, "frost", 1).words
    assert "1 photographs" in corrupted(data, "frost", 1, tmp_path).words


def test_what_a_name_asks_for():
    assert corruption_runs("fog:2") == [("fog", 2)]
    assert corruption_runs("fog") == [("fog", severity) for severity in SEVERITIES]
    assert len(corruption_runs("noise")) == 20 and len(corruption_runs("all")) == 80
    assert shows_frost("all") and shows_frost("weather:2") and not shows_frost("noise")
    assert corruption_runs("all:1")[:2] == [("motion", 1), ("defocus", 1)]
    for text, message in (
        ("mist", "no corruption 'mist'; known are motion"),
        ("fog:6", "severities are 1 to 5, not 6"),
        ("fog:x", "severities are 1 to 5"),
    ):
        with pytest.raises(UserError, match=message):
            corruption_runs(text)

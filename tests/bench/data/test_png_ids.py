"""The short way to segment ids gives what Pillow gives, and leaves alone what it does not know."""

import numpy as np
import pytest
from PIL import Image

from bench.data.panoptic import read_panoptic
from bench.data.png_ids import segment_ids
from bench.errors import UserError
from ops import active_backend

compiled = pytest.mark.skipif(active_backend("cpu") != "compiled", reason="no compiled operators here")


def stored(path, mode="RGB", **options):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8).repeat(9, 0).repeat(8, 1)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return pixels.astype(np.uint32) @ np.array([1, 256, 65536], dtype=np.uint32)


@compiled
def test_ids_of_a_file(tmp_path):
    file = tmp_path / "ids.png"
    expected = stored(file)
    found = segment_ids(file.read_bytes())
    assert found.dtype == np.uint32 and (found == expected).all()
    assert (read_panoptic(file) == expected).all()


def test_other_files_go_the_usual_way(tmp_path):
    for name, mode in (("a.png", "RGBA"), ("p.png", "P"), ("l.png", "L"), ("j.jpg", "RGB")):
        stored(tmp_path / name, mode)
        assert segment_ids((tmp_path / name).read_bytes()) is None
    assert (read_panoptic(tmp_path / "a.png") == stored(tmp_path / "a.png", "RGBA")).all()
    with pytest.raises(UserError, match="mode L"):
        read_panoptic(tmp_path / "l.png")


def test_damage_is_noticed(tmp_path):
    file = tmp_path / "ids.png"
    stored(file)
    whole = file.read_bytes()
    place = whole.index(b"IDAT") + 20
    damaged = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    for data in (damaged, whole[: len(whole) // 2], whole[:20], b""):
        assert segment_ids(data) is None
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="ids.png"):
        read_panoptic(file)
    with pytest.raises(UserError, match="no such file"):
        read_panoptic(tmp_path / "nowhere.png")

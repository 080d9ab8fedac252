"""Segment ids from compressed pixels: every filter and kind of deflation, and bytes that are no picture."""

import io
import resource
import sys
import zlib

import pytest
import torch
from PIL import Image

from ops import active_backend, png_segment_ids, png_segment_ids_reference

compiled = pytest.mark.skipif(active_backend("cpu") != "compiled", reason="no compiled operators here")
WAYS = [
    pytest.param(png_segment_ids, marks=compiled, id="compiled"),
    pytest.param(png_segment_ids_reference, id="reference"),
]


def picture(height, width, values=256):
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, values, (height, width, 3), generator=generator) * (255 // (values - 1))


def ids_of(pixels):
    return (pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]).to(torch.int32)


def filtered(pixels, kinds):
    """The rows of a picture, each with its filter, as the specification has them."""
    rows, above = b"", [0] * (3 * pixels.shape[1] + 3)
    for row, kind in zip(pixels.flatten(1).tolist(), kinds, strict=True):
        row = [0, 0, 0, *row]
        rows += bytes([kind])
        for i in range(3, len(row)):
            left, up, corner = row[i - 3], above[i], above[i - 3]
            nearest = min((left, up, corner), key=lambda v: abs(left + up - corner - v))
            rows += bytes([(row[i] - (0, left, up, (left + up) // 2, nearest)[kind]) % 256])
        above = row
    return rows


def as_tensor(data):
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


@pytest.mark.parametrize("ids", WAYS)
@pytest.mark.parametrize("kind", range(5))
def test_filters(ids, kind):
    pixels = picture(9, 14)
    data = zlib.compress(filtered(pixels, [kind] * 9))
    assert torch.equal(ids(as_tensor(data), 9, 14), ids_of(pixels))


@pytest.mark.parametrize("ids", WAYS)
@pytest.mark.parametrize("values", [2, 256])
@pytest.mark.parametrize(
    "way",
    [(0, zlib.Z_DEFAULT_STRATEGY), (9, zlib.Z_DEFAULT_STRATEGY), (6, zlib.Z_FIXED), (6, zlib.Z_RLE),
     (6, zlib.Z_HUFFMAN_ONLY)],
)  # fmt: skip
def test_kinds_of_deflation(ids, values, way):
    pixels = picture(40, 31, values)
    pixels[10:30] = pixels[10]  # rows that repeat the one above
    level, strategy = way
    packer = zlib.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
    data = packer.compress(filtered(pixels, [y % 5 if y < 10 else 2 for y in range(40)])) + packer.flush()
    assert torch.equal(ids(as_tensor(data), 40, 31), ids_of(pixels))


@compiled
def test_files_of_pillow():
    for values in (2, 3, 256):
        pixels, file = picture(60, 45, values), io.BytesIO()
        pixels = pixels.repeat_interleave(7, 0).repeat_interleave(5, 1)
        Image.fromarray(pixels.byte().numpy()).save(file, "PNG")
        data, found = file.getvalue(), b""
        at = data.index(b"IDAT") - 4
        while data[at + 4 : at + 8] == b"IDAT":
            length = int.from_bytes(data[at : at + 4], "big")
            found, at = found + data[at + 8 : at + 8 + length], at + 12 + length
        assert torch.equal(png_segment_ids(as_tensor(found), 420, 225), ids_of(pixels))


@pytest.mark.parametrize("ids", WAYS)
def test_what_is_no_picture(ids):
    rows, packer = filtered(picture(6, 5), [0] * 6), zlib.compressobj()
    endless = packer.compress(rows) + packer.flush(zlib.Z_SYNC_FLUSH)  # all bytes, but no last block
    for data in (
        endless, b"", b"x", b"no picture at all", zlib.compress(rows[:-1]), zlib.compress(rows + b"0"),
        zlib.compress(rows)[:-9], zlib.compress(b"\x05" + rows[1:]), zlib.compress(rows, 0)[:40],
    ):  # fmt: skip
        with pytest.raises(ValueError, match="png_segment_ids"):
            ids(as_tensor(data) if data else torch.zeros(0, dtype=torch.uint8), 6, 5)


@pytest.mark.parametrize("ids", WAYS)
def test_checksums_are_not_looked_at(ids):
    pixels = picture(6, 5)
    data = zlib.compress(filtered(pixels, [0] * 6))
    for end in (b"", b"\0\0\0\0"):
        assert torch.equal(ids(as_tensor(data[:-4] + end), 6, 5), ids_of(pixels))


@pytest.mark.parametrize("ids", WAYS)
def test_little_memory_is_taken_for_sizes_that_cannot_be(ids):
    """A picture far larger than its bytes can be, and bytes that unpack to far more than the picture."""
    small, large = zlib.compress(b"\0" * 64), zlib.compress(b"\0" * 50_000_000, 9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data, height, width in ((small, 8192, 8192), (large, 4, 4), (small, 1 << 62, 3)):
        with pytest.raises(ValueError, match="png_segment_ids"):
            ids(as_tensor(data), height, width)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < (30 << 20 if sys.platform == "darwin" else 30 << 10)  # bytes there, KiB elsewhere


@compiled
def test_the_best_that_deflation_can_do_is_taken():
    """1032 bytes for one: the bound on the size must not refuse it."""
    pixels = torch.zeros(2000, 1500, 3, dtype=torch.int64)
    data = zlib.compress(bytes(2000 * (3 * 1500 + 1)), 9)
    assert len(data) < 2000 * 4501 / 1000
    assert torch.equal(png_segment_ids(as_tensor(data), 2000, 1500), ids_of(pixels))


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"found torch.float32 \[3\] for 2 x 2"):
        png_segment_ids(torch.zeros(3), 2, 2)
    with pytest.raises(ValueError, match="for 0 x 2"):
        png_segment_ids(torch.zeros(3, dtype=torch.uint8), 0, 2)


@compiled
def test_damaged_bytes_give_a_picture_or_an_error():
    """Never a crash; what comes out has the size that was asked for."""
    generator = torch.Generator().manual_seed(0)
    rows, errors = filtered(picture(12, 10, 3), [2] * 12), 0
    streams = [as_tensor(zlib.compress(rows, level)) for level in (0, 1, 9)]
    for attempt in range(600):
        data = streams[attempt % 3]
        damaged = data.clone()
        places = torch.randint(0, len(data), (3,), generator=generator)
        damaged[places] = torch.randint(0, 256, (3,), generator=generator, dtype=torch.uint8)
        try:
            assert png_segment_ids(damaged, 12, 10).shape == (12, 10)
        except ValueError:
            errors += 1
    assert 300 < errors < 600


@compiled
def test_opcheck():
    data = as_tensor(zlib.compress(filtered(picture(6, 5), [0] * 6)))
    torch.library.opcheck(torch.ops.maskbench.png_segment_ids, (data, 6, 5))

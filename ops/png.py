"""Segment ids from the compressed pixels of a PNG file, which is how COCO keeps panoptic labels.

Most of the time of evaluating panoptic quality is spent on decompressing these files; a map of segments is
runs of equal bytes, for which a decoder with few branches needs a tenth of the time of a general one.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from ops import backend

__all__ = ["png_segment_ids", "png_segment_ids_reference"]


def png_segment_ids(deflated: Tensor, height: int, width: int) -> Tensor:
    """Segment ids R + 256 G + 256^2 B of a PNG file with 8 bit RGB pixels, not interlaced.

    Args:
        deflated: uint8 [N] on the CPU: the file's IDAT chunks, one after the other. Their checksums are not
            looked at.
        height, width: of the picture, at least 1.

    Returns:
        int32 [height, width].

    Raises:
        ValueError: bytes that are not the pixels of such a picture.
    """
    if deflated.dtype != torch.uint8 or deflated.ndim != 1 or height < 1 or width < 1:
        found = f"{deflated.dtype} {list(deflated.shape)} for {height} x {width} pixels"
        raise ValueError(f"png_segment_ids: expected bytes [N] of a picture, found {found}")
    if backend.active_backend("cpu") != "compiled":
        return png_segment_ids_reference(deflated, height, width)
    try:
        return torch.ops.maskbench.png_segment_ids(deflated, height, width)
    except RuntimeError as error:
        raise ValueError(f"png_segment_ids: not the pixels of {height} x {width} in 8 bit RGB") from error


def png_segment_ids_reference(deflated: Tensor, height: int, width: int) -> Tensor:
    """The same, row by row: section 9 of the PNG specification."""
    size, data, unpacker = 3 * width, deflated.numpy().tobytes(), zlib.decompressobj(-15)
    if len(data) < 2 or data[0] & 15 != 8 or data[1] & 32:
        raise ValueError("png_segment_ids: the bytes are not deflated, or with a dictionary")
    try:  # no more than the picture has, whatever the bytes would unpack to
        raw = unpacker.decompress(data[2:], height * (size + 1) + 1)
    except (zlib.error, OverflowError) as error:
        raise ValueError(f"png_segment_ids: {error}") from error
    if len(raw) != height * (size + 1) or not unpacker.eof:
        raise ValueError(f"png_segment_ids: the bytes are not {height} x {width} pixels in 8 bit RGB")
    pixels, above = [], [0] * (size + 3)
    for y in range(height):
        start = y * (size + 1)
        above = _unfiltered(raw[start], raw[start + 1 : start + 1 + size], above)
        pixels.append(above[3:])
    red, green, blue = torch.tensor(pixels, dtype=torch.int32).view(height, width, 3).unbind(-1)
    return red + 256 * green + 65536 * blue


def _unfiltered(kind: int, filtered: bytes, above: list[int]) -> list[int]:
    """A row of bytes with three zeros before it, from its filtered form and the row above."""
    row = [0, 0, 0]
    for i, byte in enumerate(filtered):
        left, up, corner = row[i], above[i + 3], above[i]
        if kind > 4:
            raise ValueError(f"png_segment_ids: there is no filter {kind}")
        row.append((byte + (0, left, up, (left + up) // 2, _nearest(left, up, corner))[kind]) % 256)
    return row


def _nearest(left: int, up: int, corner: int) -> int:
    """Paeth's predictor: which of the three is nearest to left + up - corner."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))  # the first of equals


# As the dispatcher first finds it; the compiled library's kernel stands before it once that is loaded.
@torch.library.custom_op("maskbench::png_segment_ids", mutates_args=())
def _ids(deflated: Tensor, height: int, width: int) -> Tensor:
    return png_segment_ids_reference(deflated, height, width)


@_ids.register_fake
def _ids_fake(deflated: Tensor, height: int, width: int) -> Tensor:
    return deflated.new_empty(height, width, dtype=torch.int32)

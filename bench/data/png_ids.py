"""Segment ids straight from the bytes of a PNG file, for the one kind of file that COCO's tools write."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import torch

from ops import active_backend, png_segment_ids

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = bytes((8, 2, 0, 0, 0))  # 8 bits, red green blue, deflated, five filters, not interlaced
_LARGEST = 1 << 26  # pixels; a picture that is larger goes the usual way, which warns of it


def segment_ids(data: bytes) -> np.ndarray | None:
    """Ids R + 256 G + 256^2 B, uint32 [H, W], of a file with 8 bit RGB pixels, not interlaced.

    None for any other file, a damaged one, and where there is no compiled operator: those are for a decoder
    that knows them all, or can say what is wrong.
    """
    if data[:8] != _SIGNATURE or data[12:16] != b"IHDR" or data[24:29] != _RGB:
        return None
    width, height = struct.unpack(">II", data[16:24])
    pixels = _pixels(data)
    if pixels is None or not 0 < width * height <= _LARGEST or active_backend("cpu") != "compiled":
        return None
    try:
        ids = png_segment_ids(torch.frombuffer(pixels, dtype=torch.uint8), height, width)
    except ValueError:
        return None
    return ids.numpy().view(np.uint32)


def _pixels(data: bytes) -> bytearray | None:
    """The IDAT chunks of a file, one after the other; None for a file with a chunk that is damaged."""
    found, at = bytearray(), len(_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            return None
        kind = data[at + 4 : at + 8]
        if kind == b"IDAT":
            found += data[at + 8 : end]
        if kind == b"IEND":
            return found or None
        at = end + 4
    return None

"""Pixels -> a PNG that is quick to write and quick to read: one filter, nothing deflated.

https://www.w3.org/TR/png-3/. Pillow tries five filters a row, which takes longer than all else that
is done to a photograph here; the compression is ArrayRecord's. docs/datasets.md has the figures.
"""

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What filter 2 stores: the difference to the pixel above, modulo 256.
_UP = 2
_EIGHT_BITS, _RGB = 8, 2


def encode_png(pixels: np.ndarray) -> bytes:
    """A PNG file.

    Args:
        pixels: uint8 H W 3.

    Raises:
        ValueError: another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels of {pixels.dtype} {pixels.shape}; expected uint8 H W 3")
    height, width, _ = pixels.shape
    values = pixels.reshape(height, 3 * width)
    rows = np.empty((height, 1 + 3 * width), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = values[0]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, _EIGHT_BITS, _RGB, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

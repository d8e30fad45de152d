"""Image content -> the bytes that are stored.

An image is decoded and resized once and stored as PNG, which avoids a second JPEG loss. The PNG is
not deflated: ArrayRecord compresses it, which is faster to write and to read (docs/datasets.md).
"""

import hashlib
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from gtn_jax.data.decode import resize_short_side
from gtn_jax.data.files import read_regular
from gtn_jax.data.rgb import open_rgb, upright_size

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP = 2  # the PNG filter that stores the difference to the pixel above, modulo 256
_EIGHT_BITS, _RGB = 8, 2

Content = bytes | Path | np.ndarray | ValueError
"""An encoded image, its file, uint8 H W 3, or the error from decoding a video."""


class Example(NamedTuple):
    """One labeled image."""

    file: str  # name in the source, unique in the split
    content: Content
    label: int


class Encoded(NamedTuple):
    """A stored image."""

    image: bytes
    digest: bytes  # equal for equal content
    size: tuple[int, int]  # width, height in pixels


def encode(content: Content, file: str, short_side: int | None) -> Encoded:
    """Read, decode, resize and encode one image; `file` is its name for errors.

    `short_side` is in pixels, aspect ratio preserved; None stores files unchanged.

    Raises:
        ValueError: not a readable image; names the file.
    """
    if isinstance(content, ValueError):
        raise content
    if isinstance(content, np.ndarray):
        pixels = np.ascontiguousarray(content)
        image = Image.fromarray(pixels)
        if short_side is not None:
            image = resize_short_side(image, short_side)
        digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
        return Encoded(encode_png(np.asarray(image)), digest, image.size)
    encoded = content if isinstance(content, bytes) else read_regular(content)
    digest = hashlib.blake2b(encoded, digest_size=16).digest()
    if short_side is None:
        return Encoded(encoded, digest, upright_size(encoded, file))
    image = resize_short_side(open_rgb(encoded, file), short_side)
    return Encoded(encode_png(np.asarray(image)), digest, image.size)


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode uint8 H W 3 as PNG with one filter and no compression (https://www.w3.org/TR/png-3/).

    Pillow tries five filters per row, which takes longer than all else. ValueError for another
    shape or dtype.
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
    return _PNG_SIGNATURE + b"".join(
        _png_chunk(*chunk) for chunk in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

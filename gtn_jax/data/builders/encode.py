"""What a builder found -> the bytes that are stored.

An image is decoded and resized once, and kept as PNG, so training loses nothing to a second JPEG.
The PNG (png.py) is not deflated: ArrayRecord compresses it, in less time both ways. Writing is
writing.py's.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from gtn_jax.data.builders.png import encode_png
from gtn_jax.data.decode import resize_short_side
from gtn_jax.data.files import read_regular
from gtn_jax.data.rgb import open_rgb, upright_size

Content = bytes | Path | np.ndarray | ValueError
"""An encoded image, a file that holds one, uint8 H W 3, or why there is none (of a video)."""


class Example(NamedTuple):
    """One labeled image.

    Attributes:
        file: its name in the source, unique in the split.
        content: the bytes of a file (JPEG, PNG, ...), the path of one, uint8 H W 3, or the error
            that reading it ended with.
        label: index into the builder's classes.
    """

    file: str
    content: Content
    label: int


class Encoded(NamedTuple):
    """One image as it is stored.

    Attributes:
        image: an encoded file.
        digest: of what it was made from; equal for equal bytes.
        size: width and height in pixels.
    """

    image: bytes
    digest: bytes
    size: tuple[int, int]


def encode(content: Content, file: str, short_side: int | None) -> Encoded:
    """Read, decode, resize and encode one image.

    Args:
        content: where it is.
        file: its name, for errors.
        short_side: in pixels, aspect kept; None keeps files as they are, not decoded.

    Raises:
        ValueError: no readable image; names the file.
    """
    if isinstance(content, ValueError):
        raise content
    if isinstance(content, np.ndarray):
        pixels = np.ascontiguousarray(content)
        image = resize(Image.fromarray(pixels), short_side)
        digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
        return Encoded(encode_png(np.asarray(image)), digest, image.size)
    encoded = content if isinstance(content, bytes) else read_regular(content)
    digest = hashlib.blake2b(encoded, digest_size=16).digest()
    if short_side is None:
        return Encoded(encoded, digest, upright_size(encoded, file))
    image = resize_short_side(open_rgb(encoded, file), short_side)
    return Encoded(encode_png(np.asarray(image)), digest, image.size)


def resize(image: Image.Image, short_side: int | None) -> Image.Image:
    """`decode.resize_short_side`, or the image itself for None."""
    return image if short_side is None else resize_short_side(image, short_side)

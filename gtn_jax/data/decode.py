"""Encoded image files -> uint8 pixels of one size.

Pillow decodes (https://pillow.readthedocs.io). Does not augment: that is augment.py's, on the
device.
"""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError


def decode(encoded: bytes, image_size: int, file: str) -> np.ndarray:
    """Decode, resize the short side to `image_size` and cut the centre square out.

    Args:
        encoded: a JPEG, PNG, ... file.
        image_size: side of the result in pixels.
        file: its name, for the error.

    Returns:
        uint8 image_size image_size 3, RGB.

    Raises:
        ValueError: the bytes are no readable image; names the file.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            image = opened.convert("RGB")
    # SyntaxError is how Pillow calls a broken PNG.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow's own words for it name an object in memory instead of the file.
        is_unknown = isinstance(error, UnidentifiedImageError)
        reason = "of no format that Pillow knows" if is_unknown else error
        raise ValueError(f"{file}: not a readable image ({reason})") from error
    width, height = image.size
    short = min(width, height)
    if short != image_size:
        size = (
            max(image_size, round(width * image_size / short)),
            max(image_size, round(height * image_size / short)),
        )
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (image.width - image_size) // 2, (image.height - image_size) // 2
    pixels = np.asarray(image)
    return pixels[top : top + image_size, left : left + image_size]

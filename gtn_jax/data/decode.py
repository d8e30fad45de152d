"""Encoded image files -> uint8 pixels: upright RGB, one short side, the centre square.

What a file's pixels are is rgb.py's; Pillow resizes (https://pillow.readthedocs.io). Sizes and
offsets are those of torchvision's Resize and CenterCrop on PIL images
(torchvision/transforms/functional.py). Does not augment: that is augment.py's, on the device.
"""

import numpy as np
from PIL import Image

from gtn_jax.data.rgb import open_rgb

LONGEST_ASPECT = 4
"""Of an image longer than so many times its short side, the middle of that length counts: one
panorama would otherwise set the size that all others are padded to."""


def resize_short_side(image: Image.Image, short_side: int) -> Image.Image:
    """Resize to a short side of `short_side` pixels, aspect kept, bilinear with antialiasing.

    The long side becomes int(short_side * long / short), as torchvision's does.
    """
    width, height = image.size
    short, long = min(image.size), max(image.size)
    if long > LONGEST_ASPECT * short:
        cut = (long - LONGEST_ASPECT * short) // 2
        kept = cut + LONGEST_ASPECT * short
        box = (cut, 0, kept, height) if width > height else (0, cut, width, kept)
        return resize_short_side(image.crop(box), short_side)
    if short == short_side:
        return image
    resized = int(short_side * long / short)
    size = (short_side, resized) if width <= height else (resized, short_side)
    return image.resize(size, Image.Resampling.BILINEAR)


def centre_crop(pixels: np.ndarray, image_size: int) -> np.ndarray:
    """The square of `image_size` in the middle of H W 3, as torchvision's CenterCrop cuts it."""
    height, width = pixels.shape[:2]
    # round() to even, as theirs.
    top, left = round((height - image_size) / 2), round((width - image_size) / 2)
    return pixels[top : top + image_size, left : left + image_size]


def decode_whole(encoded: bytes, short_side: int, file: str) -> np.ndarray:
    """Decode to uint8 H W 3, min(H, W) = `short_side`.

    Raises:
        ValueError: as `open_rgb`.
    """
    return np.asarray(resize_short_side(open_rgb(encoded, file), short_side))


def decode(encoded: bytes, image_size: int, file: str, short_side: int | None = None) -> np.ndarray:
    """Decode to the square that evaluation sees.

    Args:
        encoded: a JPEG, PNG, ... file.
        image_size: side of the result in pixels.
        file: its name, for the error.
        short_side: of the image that the square is cut out of, in pixels; None: `image_size`.

    Returns:
        uint8 image_size image_size 3, RGB.

    Raises:
        ValueError: as `open_rgb`.
    """
    return centre_crop(decode_whole(encoded, short_side or image_size, file), image_size)

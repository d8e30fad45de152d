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
    width, height = _kept(image.size)
    if (width, height) != image.size:
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    size = _resized(image.size, short_side)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


def whole_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width of what `decode_whole` makes of an image of this height and width."""
    width, height = _resized(_kept((width, height)), short_side)
    return height, width


def _kept(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height without the ends of an image that is too long."""
    longest = LONGEST_ASPECT * min(size)
    return min(size[0], longest), min(size[1], longest)


def _resized(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    width, height = size
    if min(size) == short_side:
        return size
    if width <= height:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


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

"""Encoded image files -> uint8 pixels: upright RGB, one short side, the center square.

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

    The long side becomes int(short_side * long / short), as torchvision's does; beyond
    `LONGEST_ASPECT` only its middle is computed.
    """
    width, height = _resized(image.size, short_side)
    kept_height, kept_width = whole_size(image.height, image.width, short_side)
    if (kept_width, kept_height) == image.size:
        return image
    left, top = _offset(width, kept_width), _offset(height, kept_height)
    across, down = image.width / width, image.height / height
    # Rounding may lead out of the image by a hair, which Pillow refuses.
    right = min((left + kept_width) * across, image.width)
    bottom = min((top + kept_height) * down, image.height)
    box = (left * across, top * down, right, bottom)
    return image.resize((kept_width, kept_height), Image.Resampling.BILINEAR, box)


def whole_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width of what `decode_whole` makes of an image of this height and width."""
    longest = LONGEST_ASPECT * short_side
    width, height = _resized((width, height), short_side)
    return min(height, longest), min(width, longest)


def _resized(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    width, height = size
    if min(size) == short_side:
        return size
    if width <= height:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


def _offset(length: int, kept: int) -> int:
    """Where the middle begins; round() goes to even, as torchvision's."""
    return round((length - kept) / 2)


def center_crop(pixels: np.ndarray, image_size: int) -> np.ndarray:
    """The square of `image_size` in the middle of H W 3, as torchvision's CenterCrop cuts it."""
    top, left = (_offset(length, image_size) for length in pixels.shape[:2])
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
    return center_crop(decode_whole(encoded, short_side or image_size, file), image_size)

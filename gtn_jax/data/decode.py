"""Image files -> uint8 RGB, resized by the short side and center-cropped.

Sizes and offsets are those of torchvision's Resize and CenterCrop on PIL images
(torchvision/transforms/functional.py).
"""

import numpy as np
from PIL import Image

from gtn_jax.data.rgb import open_rgb

LONGEST_ASPECT = 4
"""Longer images keep only the middle, as one panorama would inflate the padding of all images."""


def resize_short_side(image: Image.Image, short_side: int) -> Image.Image:
    """Resize to a short side of `short_side` pixels, bilinear with antialiasing.

    The long side becomes int(short_side * long / short), as in torchvision; beyond `LONGEST_ASPECT`
    only its middle is computed.
    """
    width, height = _resized(image.size, short_side)
    out_height, out_width = whole_size(image.height, image.width, short_side)
    if (out_width, out_height) == image.size:
        return image
    left, top = _offset(width, out_width), _offset(height, out_height)
    across, down = image.width / width, image.height / height
    # Clipped, as rounding may exceed the image, which Pillow rejects.
    right = min((left + out_width) * across, image.width)
    bottom = min((top + out_height) * down, image.height)
    box = (left * across, top * down, right, bottom)
    return image.resize((out_width, out_height), Image.Resampling.BILINEAR, box)


def whole_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width of the result of `decode_whole`."""
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


def _offset(length: int, size: int) -> int:
    """Start of the middle; rounds half to even, as torchvision does."""
    return round((length - size) / 2)


def center_crop(pixels: np.ndarray, image_size: int) -> np.ndarray:
    """The central square of H W 3, as in torchvision's CenterCrop."""
    top, left = (_offset(length, image_size) for length in pixels.shape[:2])
    return pixels[top : top + image_size, left : left + image_size]


def decode_whole(encoded: bytes, short_side: int, file: str) -> np.ndarray:
    """Decode to uint8 H W 3 with min(H, W) = `short_side`; errors as in `open_rgb`."""
    return np.asarray(resize_short_side(open_rgb(encoded, file), short_side))


def decode(encoded: bytes, image_size: int, file: str, short_side: int | None = None) -> np.ndarray:
    """Decode to uint8 image_size image_size 3, the view of evaluation; errors as in `open_rgb`.

    `short_side` is that of the resized image before cropping; None: `image_size`.
    """
    return center_crop(decode_whole(encoded, short_side or image_size, file), image_size)

"""Random resized crops, on the device: boxes by torchvision's rule, pixels by Pillow's.

RandomResizedCrop of https://github.com/pytorch/vision (torchvision/transforms/transforms.py,
`get_params`) draws the boxes; a triangle filter with antialiasing, cut off at the edges of the
box, resizes them as `PIL.Image.crop` and `resize(BILINEAR)` do, but for rounding to whole grey
levels in between. Pure functions, for jit; the draws are not PyTorch's.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from gtn_jax.arrays import Array

ASPECT = (3 / 4, 4 / 3)
"""Width / height of a crop, smallest and largest; uniform in the logarithm."""
TRIES = 10
"""Draws before the crop in the middle is taken."""


def random_boxes(key: jax.Array, sizes: Array, min_area: float = 0.08) -> jax.Array:
    """One box inside each image.

    Args:
        key: the same key gives the same boxes.
        sizes: int32 B 2, height and width in pixels.
        min_area: smallest share of the image in a box; the largest is 1.

    Returns:
        int32 B 4: top, left, height, width.
    """
    images = sizes.shape[0]
    height, width = jnp.asarray(sizes[:, :1], jnp.float32), jnp.asarray(sizes[:, 1:], jnp.float32)
    keys = [jax.random.fold_in(key, number) for number in range(3)]
    shape = (images, TRIES)
    area = height * width * jax.random.uniform(keys[0], shape, minval=min_area, maxval=1.0)
    low, high = (math.log(aspect) for aspect in ASPECT)
    aspect = jnp.exp(jax.random.uniform(keys[1], shape, minval=low, maxval=high))
    box_width, box_height = jnp.round(jnp.sqrt(area * aspect)), jnp.round(jnp.sqrt(area / aspect))
    fits = (box_width > 0) & (box_width <= width) & (box_height > 0) & (box_height <= height)

    first = jnp.argmax(fits, axis=1, keepdims=True)
    drawn = [jnp.take_along_axis(side, first, axis=1) for side in (box_height, box_width)]
    # In the middle, all of the image but for what makes it too wide or too high.
    middle = [
        jnp.minimum(height, jnp.round(width / ASPECT[0])),
        jnp.minimum(width, jnp.round(height * ASPECT[1])),
    ]
    any_fits = jnp.any(fits, axis=1, keepdims=True)
    box = jnp.concatenate(
        [jnp.where(any_fits, *pair) for pair in zip(drawn, middle, strict=True)], 1
    )
    room = jnp.concatenate([height, width], 1) - box
    corner = jnp.floor(jax.random.uniform(keys[2], (images, 2)) * (room + 1))
    # The product rounds up to room + 1 once in millions.
    corner = jnp.where(any_fits, jnp.minimum(corner, room), jnp.floor(room / 2))
    return jnp.concatenate([corner, box], 1).astype(jnp.int32)


def crop_and_resize(images: Array, boxes: Array, image_size: int) -> jax.Array:
    """Cut each image's box out and resize it to a square.

    Args:
        images: uint8 B H W 3; what lies outside of the boxes is not looked at.
        boxes: int32 B 4: top, left, height, width in pixels.
        image_size: side of the result in pixels.

    Returns:
        float32 B image_size image_size 3, in 0..255.
    """
    count, height, width, channels = images.shape
    rows = _resize_matrix(boxes[:, 0], boxes[:, 2], height, image_size)
    columns = _resize_matrix(boxes[:, 1], boxes[:, 3], width, image_size)
    pixels = jnp.asarray(images, jnp.float32).reshape(count, height, width * channels)
    # Accelerators would multiply in bfloat16, which cannot hold 256 grey levels exactly.
    cut = jnp.einsum("boh,bhx->box", rows, pixels, precision=lax.Precision.HIGHEST)
    cut = cut.reshape(count, image_size, width, channels)
    return jnp.einsum("bpw,bowc->bopc", columns, cut, precision=lax.Precision.HIGHEST)


def _resize_matrix(start: Array, length: Array, pixels: int, image_size: int) -> jax.Array:
    """float32 B image_size pixels: the weight of each pixel of a line in each of the result."""
    start, length = (jnp.asarray(value, jnp.float32).reshape(-1, 1, 1) for value in (start, length))
    scale = length / image_size
    places = (jnp.arange(image_size, dtype=jnp.float32) + 0.5).reshape(1, -1, 1)
    centre = start + places * scale
    place = (jnp.arange(pixels, dtype=jnp.float32) + 0.5).reshape(1, 1, -1)
    weight = jnp.maximum(0.0, 1 - jnp.abs(place - centre) / jnp.maximum(scale, 1.0))
    weight = jnp.where((place > start) & (place < start + length), weight, 0.0)
    return weight / jnp.sum(weight, axis=2, keepdims=True)

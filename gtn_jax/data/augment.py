"""uint8 images -> normalized float images, inside jit: crop or shift, flip, resize, normalize.

Pure functions of (key, images, sizes); the same key gives the same pixels on any number of
devices. Random resized crops are those of https://github.com/pytorch/vision
(torchvision/transforms/transforms.py, RandomResizedCrop.get_params), resized as Pillow's crop and
resize(BILINEAR) do but for rounding to whole gray levels in between; the draws are not PyTorch's.
"""

import math
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import lax

from gtn_jax.arrays import Array


class Transform(Protocol):
    """What `training_transform` and `evaluation_transform` return, and a step takes."""

    def __call__(self, key: jax.Array, images: Array, sizes: Array | None = None) -> jax.Array:
        """uint8 B H W 3, int32 B 2 (`sizes` of a Batch) -> float32 B H' W' 3, normalized.

        Evaluation ignores the key.
        """
        ...


def normalize(images: Array, mean: tuple[float, ...], std: tuple[float, ...]) -> jax.Array:
    """B H W 3 in 0..255 -> float32, (x / 255 - mean) / std per channel."""
    scaled = jnp.asarray(images, jnp.float32) / 255
    center, scale = (jnp.array(values, jnp.float32).reshape(1, 1, 1, 3) for values in (mean, std))
    return (scaled - center) / scale


def flip(key: jax.Array, images: Array) -> jax.Array:
    """Mirror each image B H W C left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1, :], images)


def shift(key: jax.Array, images: Array, pixels: int) -> jax.Array:
    """Move each image B H W C by a whole number of pixels in [-pixels, pixels]^2; zeros come in."""
    padding = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    padded = jnp.pad(images, padding)
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * pixels + 1)
    size = images.shape[1:]

    def cut(image: jax.Array, corner: jax.Array) -> jax.Array:
        return lax.dynamic_slice(image, (corner[0], corner[1], 0), size)

    return jax.vmap(cut)(padded, corners)


def training_transform(
    mean: tuple[float, ...],
    std: tuple[float, ...],
    random_flip: bool,
    random_shift_pixels: int,
    image_size: int | None = None,
    random_resized_crop: bool = False,
    crop_min_area: float = 0.08,
) -> Transform:
    """Augment and normalize.

    Args:
        mean: of red, green, blue, in 0..1; shifted-in zeros are zeros *before* normalizing.
        std: of red, green, blue.
        random_flip: whether to mirror at random.
        random_shift_pixels: the furthest shift; 0 is none.
        image_size: side to resize to, bilinear with antialiasing; None keeps the height.
        random_resized_crop: cut a random box out of each image, whose size comes with the batch.
        crop_min_area: smallest share of an image in that box.
    """

    def transform(key: jax.Array, images: Array, sizes: Array | None = None) -> jax.Array:
        side = image_size or images.shape[1]
        if random_resized_crop:
            if sizes is None:
                sizes = jnp.tile(jnp.array([images.shape[1:3]], jnp.int32), (images.shape[0], 1))
            boxes = random_boxes(jax.random.fold_in(key, 0), sizes, crop_min_area)
            images = crop_and_resize(images, boxes, side)
        if random_shift_pixels:
            images = shift(jax.random.fold_in(key, 0), images, random_shift_pixels)
        if random_flip:
            images = flip(jax.random.fold_in(key, 1), images)
        if side != images.shape[1]:
            shape = (images.shape[0], side, side, images.shape[3])
            images = jax.image.resize(images.astype(jnp.float32), shape, "linear")
        return normalize(images, mean, std)

    return transform


def one_by_one(transform: Transform) -> Transform:
    """The same, but for one key an image (typed, B), so that no image depends on its batch."""

    def one(key: jax.Array, image: Array, size: Array | None) -> jax.Array:
        return transform(key, image[None], None if size is None else size[None])[0]

    def transform_each(key: jax.Array, images: Array, sizes: Array | None = None) -> jax.Array:
        return jax.vmap(one)(key, images, sizes)

    return transform_each


def evaluation_transform(mean: tuple[float, ...], std: tuple[float, ...]) -> Transform:
    """Normalize only."""

    def transform(key: jax.Array, images: Array, sizes: Array | None = None) -> jax.Array:
        del key, sizes  # nothing is random, every image fills its array
        return normalize(images, mean, std)

    return transform


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
    # Accelerators would multiply in bfloat16, which cannot hold 256 gray levels exactly.
    cut = jnp.einsum("boh,bhx->box", rows, pixels, precision=lax.Precision.HIGHEST)
    cut = cut.reshape(count, image_size, width, channels)
    return jnp.einsum("bpw,bowc->bopc", columns, cut, precision=lax.Precision.HIGHEST)


def _resize_matrix(start: Array, length: Array, pixels: int, image_size: int) -> jax.Array:
    """float32 B image_size pixels: the weight of each pixel of a line in each of the result."""
    start, length = (jnp.asarray(value, jnp.float32).reshape(-1, 1, 1) for value in (start, length))
    scale = length / image_size
    places = (jnp.arange(image_size, dtype=jnp.float32) + 0.5).reshape(1, -1, 1)
    center = start + places * scale
    place = (jnp.arange(pixels, dtype=jnp.float32) + 0.5).reshape(1, 1, -1)
    weight = jnp.maximum(0.0, 1 - jnp.abs(place - center) / jnp.maximum(scale, 1.0))
    weight = jnp.where((place > start) & (place < start + length), weight, 0.0)
    return weight / jnp.sum(weight, axis=2, keepdims=True)

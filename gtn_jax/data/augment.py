"""Augmentation inside jit: crop or shift, flip, resize, normalize.

Pure functions of (key, images, sizes); the same key gives the same pixels on any number of
devices. Random resized crops follow https://github.com/pytorch/vision
(torchvision/transforms/transforms.py, RandomResizedCrop.get_params) with other random numbers, and
are resized like Pillow's crop and resize(BILINEAR), without rounding to gray levels in between.
"""

import math
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Float32, Int, Key, Num, UInt8

from gtn_jax.arrays import Array


@runtime_checkable
class Transform(Protocol):
    """What `training_transform` and `evaluation_transform` return."""

    def __call__(
        self,
        key: Key[jax.Array, "..."],
        images: Num[Array, "B H W 3"],
        sizes: Int[Array, "B 2"] | None = None,
    ) -> Float32[jax.Array, "B H_out W_out 3"]:
        """Normalized images, from images and `sizes` as in `Batch`; evaluation ignores the key."""
        ...


def normalize(
    images: Num[Array, "B H W 3"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float32[jax.Array, "B H W 3"]:
    """(x / 255 - mean) / std per channel, of images in 0..255."""
    scaled = jnp.asarray(images, jnp.float32) / 255
    center, scale = (jnp.array(values, jnp.float32).reshape(1, 1, 1, 3) for values in (mean, std))
    return (scaled - center) / scale


def flip(key: Key[jax.Array, ""], images: Num[Array, "B H W C"]) -> Num[jax.Array, "B H W C"]:
    """Mirror each image left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1, :], images)


def shift(
    key: Key[jax.Array, ""], images: Num[Array, "B H W C"], pixels: int
) -> Num[jax.Array, "B H W C"]:
    """Translate each image by whole pixels in [-pixels, pixels]^2, filling with zeros."""
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
    """Build a transform that augments and normalizes.

    Args:
        mean: of red, green and blue, in 0..1; shifts fill with zeros before normalization.
        std: of red, green and blue, in 0..1.
        random_flip: see `flip`.
        random_shift_pixels: see `shift`; 0 turns it off.
        image_size: side to resize to, bilinear with antialiasing; None keeps the height.
        random_resized_crop: see `random_boxes`.
        crop_min_area: see `random_boxes`.
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
    """The same transform with one key per image (shape B), so no image depends on its batch."""

    def one(key: jax.Array, image: Array, size: Array | None) -> jax.Array:
        return transform(key, image[None], None if size is None else size[None])[0]

    def transform_each(key: jax.Array, images: Array, sizes: Array | None = None) -> jax.Array:
        return jax.vmap(one)(key, images, sizes)

    return transform_each


def evaluation_transform(mean: tuple[float, ...], std: tuple[float, ...]) -> Transform:
    """Build a transform that only normalizes."""

    def transform(key: jax.Array, images: Array, sizes: Array | None = None) -> jax.Array:
        del key, sizes  # nothing is random, every image fills its array
        return normalize(images, mean, std)

    return transform


ASPECT = (3 / 4, 4 / 3)
"""Smallest and largest width / height of a crop; uniform in the logarithm."""
TRIES = 10
"""Draws before the center crop is taken."""


def random_boxes(
    key: Key[jax.Array, ""], sizes: Int[Array, "B 2"], min_area: float | jax.Array = 0.08
) -> Int[jax.Array, "B 4"]:
    """Draw one box inside each image.

    Args:
        key: the same key gives the same boxes.
        sizes: height and width in pixels.
        min_area: smallest share of the image in a box; the largest is 1.

    Returns:
        int32 top, left, height and width in pixels.
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
    # The largest center crop whose aspect is in range.
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
    # Rounding makes the product room + 1 once in millions.
    corner = jnp.where(any_fits, jnp.minimum(corner, room), jnp.floor(room / 2))
    return jnp.concatenate([corner, box], 1).astype(jnp.int32)


def crop_and_resize(
    images: UInt8[Array, "B H W C"], boxes: Int[Array, "B 4"], image_size: int
) -> Float[jax.Array, "B {image_size} {image_size} C"]:
    """Crop each image to its box (top, left, height, width) and resize that; float32 in 0..255.

    Pixels outside of the boxes have no influence.
    """
    count, height, width, channels = images.shape
    rows = _resize_matrix(boxes[:, 0], boxes[:, 2], height, image_size)
    columns = _resize_matrix(boxes[:, 1], boxes[:, 3], width, image_size)
    pixels = jnp.asarray(images, jnp.float32).reshape(count, height, width * channels)
    # Accelerators multiply in bfloat16 by default, which cannot represent 256 gray levels.
    cut = jnp.einsum("boh,bhx->box", rows, pixels, precision=lax.Precision.HIGHEST)
    cut = cut.reshape(count, image_size, width, channels)
    return jnp.einsum("bpw,bowc->bopc", columns, cut, precision=lax.Precision.HIGHEST)


def _resize_matrix(start: Array, length: Array, pixels: int, image_size: int) -> jax.Array:
    """float32 B image_size pixels: the weight of each source pixel in each pixel of the result."""
    start, length = (jnp.asarray(value, jnp.float32).reshape(-1, 1, 1) for value in (start, length))
    scale = length / image_size
    places = (jnp.arange(image_size, dtype=jnp.float32) + 0.5).reshape(1, -1, 1)
    center = start + places * scale
    place = (jnp.arange(pixels, dtype=jnp.float32) + 0.5).reshape(1, 1, -1)
    weight = jnp.maximum(0.0, 1 - jnp.abs(place - center) / jnp.maximum(scale, 1.0))
    weight = jnp.where((place > start) & (place < start + length), weight, 0.0)
    return weight / jnp.sum(weight, axis=2, keepdims=True)

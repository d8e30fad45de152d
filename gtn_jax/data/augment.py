"""uint8 images -> normalised float images, inside jit: crop or shift, flip, resize, normalise.

Pure functions of (key, images, sizes); the same key gives the same pixels on any number of
devices. Random resized crops are crop.py's.
"""

from typing import Protocol

import jax
import jax.numpy as jnp
from jax import lax

from gtn_jax.arrays import Array
from gtn_jax.data.crop import crop_and_resize, random_boxes


class Transform(Protocol):
    """What `training_transform` and `evaluation_transform` return, and a step takes."""

    def __call__(self, key: jax.Array, images: Array, sizes: Array | None = None) -> jax.Array:
        """uint8 B H W 3, int32 B 2 (`sizes` of a Batch) -> float32 B H' W' 3, normalised.

        Evaluation ignores the key.
        """
        ...


def normalise(images: Array, mean: tuple[float, ...], std: tuple[float, ...]) -> jax.Array:
    """B H W 3 in 0..255 -> float32, (x / 255 - mean) / std per channel."""
    scaled = jnp.asarray(images, jnp.float32) / 255
    centre, scale = (jnp.array(values, jnp.float32).reshape(1, 1, 1, 3) for values in (mean, std))
    return (scaled - centre) / scale


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
    """Augment and normalise.

    Args:
        mean: of red, green, blue, in 0..1; shifted-in zeros are zeros *before* normalising.
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
        return normalise(images, mean, std)

    return transform


def one_by_one(transform: Transform) -> Transform:
    """The same, but for one key an image (typed, B), so that no image depends on its batch."""

    def one(key: jax.Array, image: Array, size: Array | None) -> jax.Array:
        return transform(key, image[None], None if size is None else size[None])[0]

    def transform_each(key: jax.Array, images: Array, sizes: Array | None = None) -> jax.Array:
        return jax.vmap(one)(key, images, sizes)

    return transform_each


def evaluation_transform(mean: tuple[float, ...], std: tuple[float, ...]) -> Transform:
    """Normalise only."""

    def transform(key: jax.Array, images: Array, sizes: Array | None = None) -> jax.Array:
        del key, sizes  # nothing is random, every image fills its array
        return normalise(images, mean, std)

    return transform

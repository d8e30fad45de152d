"""Augmentation against images small enough to enumerate."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from gtn_jax.data import augment

KEY = jax.random.key(0)


def test_normalise_by_hand():
    images = jnp.array([[[[0, 51, 255]]]], jnp.uint8)
    result = augment.normalise(images, (0.5, 0.1, 0.0), (0.5, 0.2, 2.0))
    np.testing.assert_allclose(result, [[[[-1.0, 0.5, 0.5]]]], rtol=1e-6)
    assert result.dtype == jnp.float32


def test_flip_mirrors_about_half():
    images = jnp.arange(6, dtype=jnp.uint8).reshape(1, 1, 6, 1).repeat(400, axis=0)
    result = np.asarray(jax.jit(augment.flip)(KEY, images))[:, 0, :, 0]
    mirrored = (result == np.arange(6)[::-1]).all(axis=1)
    straight = (result == np.arange(6)).all(axis=1)
    assert np.all(mirrored ^ straight)
    assert 160 < mirrored.sum() < 240  # 200 +- 4 standard deviations


def test_shift_reaches_every_corner_and_pads_with_zeros():
    images = jnp.full((500, 5, 5, 1), 9, jnp.uint8).at[:, 2, 2].set(1)
    result = np.asarray(jax.jit(augment.shift, static_argnums=2)(KEY, images, 2))[..., 0]
    places = {tuple(np.argwhere(image == 1)[0]) for image in result}
    assert places == {(row, column) for row in range(5) for column in range(5)}
    for image in result:
        row, column = np.argwhere(image == 1)[0]
        zeros = 25 - (5 - abs(row - 2)) * (5 - abs(column - 2))
        assert (image == 0).sum() == zeros


def test_transform_is_a_function_of_the_key():
    transform = jax.jit(augment.training_transform((0.0,) * 3, (1.0,) * 3, True, 2))
    images = jax.random.randint(KEY, (16, 8, 8, 3), 0, 256).astype(jnp.uint8)
    first, second = transform(KEY, images), transform(KEY, images)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, transform(jax.random.key(1), images))


def test_transform_resizes_the_mean_right():
    transform = augment.training_transform((0.0,) * 3, (1.0,) * 3, False, 0, image_size=4)
    images = jnp.full((2, 8, 8, 3), 51, jnp.uint8)
    np.testing.assert_allclose(transform(KEY, images), np.full((2, 4, 4, 3), 0.2), rtol=1e-6)


def test_one_by_one_no_image_depends_on_the_others():
    """Crops, shifts and flips of a whole batch are those of each image alone."""
    sizes = np.array([[8, 8], [6, 8], [8, 5]], np.int32)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    keys = jax.random.split(KEY, 3)
    for crop, shift in ((True, 0), (False, 2)):
        transform = augment.training_transform((0.0,) * 3, (1.0,) * 3, True, shift, 4, crop)
        found = jax.jit(augment.one_by_one(transform))(keys, images, sizes)
        assert found.shape == (3, 4, 4, 3)
        single = jax.jit(transform)
        for row in range(3):
            alone = single(keys[row], images[row : row + 1], sizes[row : row + 1])
            np.testing.assert_allclose(found[row], alone[0], atol=1e-6)


def test_evaluation_only_normalises():
    images = jax.random.randint(KEY, (2, 4, 4, 3), 0, 256).astype(jnp.uint8)
    result = augment.evaluation_transform((0.5,) * 3, (0.25,) * 3)(KEY, images)
    np.testing.assert_allclose(result, (np.asarray(images) / 255 - 0.5) / 0.25, atol=1e-6)


def test_every_other_image_is_mirrored():
    """Of 40,000: a half, give or take 4 standard deviations, which are 0.01."""
    images = jnp.tile(jnp.array([0, 1], jnp.uint8).reshape(1, 1, 2, 1), (40_000, 1, 1, 1))
    mirrored = np.asarray(augment.flip(KEY, images))[:, 0, 0, 0] == 1
    assert abs(mirrored.mean() - 0.5) < 0.01


def test_smaller_images_are_those_of_pillow():
    """Bilinear with antialiasing, of noise."""
    transform = augment.training_transform((0.0,) * 3, (1 / 255,) * 3, False, 0, image_size=5)
    noise = np.random.default_rng(0).integers(0, 256, (12, 12), np.uint8)
    found = transform(KEY, np.repeat(noise[None, ..., None], 3, axis=3))
    expected = Image.fromarray(np.float32(noise)).resize((5, 5), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(found[0, ..., 1], expected, rtol=1e-4)

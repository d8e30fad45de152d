"""Augmentation against images small enough to enumerate."""

import io
import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gtn_jax.data import augment
from gtn_jax.data.images import View, open_images
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import whole
from gtn_jax.devices import data_mesh, put_batch
from gtn_jax.training.image_store import make_resident, with_resident_images

KEY = jax.random.key(0)


def test_normalize_by_hand():
    images = jnp.array([[[[0, 51, 255]]]], jnp.uint8)
    result = augment.normalize(images, (0.5, 0.1, 0.0), (0.5, 0.2, 2.0))
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


def test_evaluation_only_normalizes():
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


# Compiled whole: a hundred small programs take seconds.
random_boxes = jax.jit(augment.random_boxes)
crop_and_resize = jax.jit(augment.crop_and_resize, static_argnums=2)

DRAWS = 20_000
BOUND = 2.23 * math.sqrt(2 / DRAWS)
"""Equal distributions stay below this with probability 0.9999 (Smirnov's asymptotic law)."""


def torchvision_box(generator: random.Random, height: int, width: int) -> tuple[int, ...]:
    """RandomResizedCrop.get_params, scale (0.08, 1), ratio (3/4, 4/3), step by step."""
    for _ in range(10):
        area = height * width * generator.uniform(0.08, 1.0)
        aspect = math.exp(generator.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return generator.randint(0, height - h), generator.randint(0, width - w), h, w
    if width / height < 3 / 4:
        h, w = round(width / (3 / 4)), width
    elif width / height > 4 / 3:
        h, w = height, round(height * (4 / 3))
    else:
        h, w = height, width
    return (height - h) // 2, (width - w) // 2, h, w


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Kolmogorov and Smirnov's: the largest gap of the two distribution functions."""
    values = np.sort(np.concatenate([first, second]))
    counts = [np.searchsorted(np.sort(a), values, side="right") / len(a) for a in (first, second)]
    return float(np.abs(counts[0] - counts[1]).max())


def statistics(boxes: np.ndarray, height: int, width: int) -> dict[str, np.ndarray]:
    top, left, h, w = boxes.astype(float).T
    return {
        "area": h * w / (height * width),
        "aspect": np.log(w / h),
        "height": h,
        "width": w,
        "top": top,
        "left": left,
        "center row": top + h / 2,
        "center column": left + w / 2,
    }


@pytest.mark.parametrize(("height", "width"), [(256, 256), (256, 341), (400, 256), (256, 1024)])
def test_boxes_are_distributed_as_torchvisions(height, width):
    sizes = jnp.tile(jnp.array([[height, width]], jnp.int32), (DRAWS, 1))
    found = np.asarray(random_boxes(jax.random.key(0), sizes))
    generator = random.Random(0)
    expected = np.array([torchvision_box(generator, height, width) for _ in range(DRAWS)])
    ours, theirs = (statistics(boxes, height, width) for boxes in (found, expected))
    for name in ours:
        assert distance(ours[name], theirs[name]) < BOUND, name
    assert (found[:, :2] >= 0).all()
    assert (found[:, 0] + found[:, 2] <= height).all()
    assert (found[:, 1] + found[:, 3] <= width).all()


class Ramps:
    """A data source of PNG files of these heights and widths; each pixel says row and column."""

    def __init__(self, sizes):
        self.examples = []
        for number, (height, width) in enumerate(sizes):
            rows, columns = np.mgrid[:height, :width].astype(np.uint8)
            file = io.BytesIO()
            Image.fromarray(np.stack([rows, columns, rows], -1)).save(file, "PNG")
            self.examples.append({"image": file.getvalue(), "label": number, "file": b"x.png"})

    def __len__(self):
        return len(self.examples)

    def __getitems__(self, positions):
        return [self.examples[position] for position in positions]


def seen_boxes(pixels: np.ndarray) -> np.ndarray:
    """The boxes that crops of a ramp show: float B 8 8 3 -> int B 4, as `random_boxes`.

    A box from a to a + n, resized to 8, has at its place i the mean of the pixels around
    a + (i + 1/2) n / 8, and the pixel around x says x - 1/2. Places at the edge see half of that.
    """
    rows, columns = pixels[:, :, 4, 0], pixels[:, 4, :, 1]
    lengths = [(line[:, 6] - line[:, 1]) * 8 / 5 for line in (rows, columns)]
    found = [line[:, [1, 6]].mean(axis=1) + 0.5 for line in (rows, columns)]
    sides = np.stack(lengths, 1)
    starts = np.stack(found, 1) - np.round(sides) / 2
    boxes = np.concatenate([starts, sides], 1)
    assert np.abs(boxes - np.round(boxes)).max() < 0.4  # nothing is guessed
    return np.round(boxes).astype(int)


def test_crops_of_resident_images_are_distributed_as_torchvisions():
    """Through files, the devices' store, gather and transform, all read off the pixels.

    Images of two sizes, padded to one; of the second, one in twenty falls back to the middle.
    """
    sizes = [(38, 24), (24, 90)]
    split = Split(Ramps(sizes), ("a", "b"), "train")
    mesh = data_mesh(4)
    images = make_resident(open_images(whole(split), View(8, 24, whole=True)), mesh)
    assert images.pixels.shape == (2, 38, 90, 3)
    transform = augment.training_transform(
        (0.0,) * 3, (1 / 255,) * 3, False, 0, image_size=8, random_resized_crop=True
    )

    def step(key, batch):
        return jax.random.split(key)[0], transform(key, batch.images, batch.sizes)

    step = jax.jit(with_resident_images(step))
    rows = np.tile(np.arange(2, dtype=np.int32), 1000)
    batch = put_batch(images.take(rows), mesh)
    key, crops = jax.random.key(0), []
    for _ in range(DRAWS // 1000):
        key, pixels = step(key, batch)
        crops.append(seen_boxes(np.asarray(pixels)))
    found = np.concatenate(crops)
    generator = random.Random(0)
    for number, (height, width) in enumerate(sizes):
        expected = np.array([torchvision_box(generator, height, width) for _ in range(DRAWS)])
        ours = statistics(found[number::2], height, width)
        theirs = statistics(expected, height, width)
        for name in ours:
            assert distance(ours[name], theirs[name]) < BOUND, (height, width, name)


def test_another_smallest_area_would_be_seen():
    """0.12 of the area instead of 0.08: a gap of about 0.04, beyond the bound of 0.022."""
    sizes = jnp.full((DRAWS, 2), 256, jnp.int32)
    found = np.asarray(random_boxes(jax.random.key(0), sizes, 0.12))
    generator = random.Random(0)
    expected = np.array([torchvision_box(generator, 256, 256) for _ in range(DRAWS)])
    areas = (statistics(boxes, 256, 256)["area"] for boxes in (found, expected))
    assert distance(*areas) > BOUND


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(20, 600, (0, 286, 20, 27)), (600, 20, (286, 0, 27, 20))],
)
def test_fallback_is_the_middle(height, width, box):
    """Too long for any draw: 0.08 of 30 : 1 is more than a square's 4/3."""
    sizes = jnp.tile(jnp.array([[height, width]], jnp.int32), (50, 1))
    boxes = np.asarray(random_boxes(jax.random.key(0), sizes))
    assert {tuple(row) for row in boxes.tolist()} == {box}


def test_each_image_has_its_own_box_and_size():
    sizes = jnp.array([[10, 10], [300, 300]] * 50, jnp.int32)
    boxes = np.asarray(random_boxes(jax.random.key(1), sizes))
    assert (boxes[::2, 2:] <= 10).all() and (boxes[1::2, 2] > 10).all()
    assert len({tuple(row) for row in boxes[1::2].tolist()}) > 45


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """Smooth and rough channels, 90 by 120."""
    rows, columns = np.mgrid[:90, :120]
    noise = np.random.default_rng(0).integers(0, 256, (90, 120))
    return np.stack([rows * 2, (rows * columns // 7) % 256, noise], -1).astype(np.uint8)


@pytest.mark.parametrize("image_size", [8, 32, 64])
def test_pixels_are_pillows(photograph, image_size):
    boxes = np.array(
        [[0, 0, 90, 120], [10, 20, 32, 32], [5, 7, 80, 61], [40, 3, 11, 13], [89, 119, 1, 1]],
        np.int32,
    )
    images = np.repeat(photograph[None], len(boxes), axis=0)
    found = np.asarray(crop_and_resize(images, boxes, image_size))
    assert found.dtype == np.float32
    for pixels, (top, left, height, width) in zip(found, boxes, strict=True):
        cut = Image.fromarray(photograph).crop((left, top, left + width, top + height))
        resized = cut.resize((image_size, image_size), Image.Resampling.BILINEAR)
        # Pillow rounds to whole gray levels twice, after each axis, and halves go up.
        np.testing.assert_allclose(pixels, np.asarray(resized), atol=1.01)
        assert abs(float((pixels - np.asarray(resized)).mean())) < 0.5


def test_what_lies_outside_of_the_box_does_not_count(photograph):
    box = np.array([[10, 20, 30, 40]], np.int32)
    other = np.zeros_like(photograph)
    other[10:40, 20:60] = photograph[10:40, 20:60]
    found = [np.asarray(crop_and_resize(image[None], box, 16)) for image in (photograph, other)]
    np.testing.assert_array_equal(found[0], found[1])


def test_transform_crops_flips_and_normalizes(photograph):
    transform = jax.jit(
        augment.training_transform(
            (0.5,) * 3, (0.25,) * 3, True, 0, image_size=16, random_resized_crop=True
        )
    )
    images = np.full((6, 90, 120, 3), 102, np.uint8)
    sizes = np.array([[90, 120], [40, 50]] * 3, np.int32)
    images[1::2, 40:] = 7  # outside of the true size
    images[1::2, :, 50:] = 7
    result = transform(jax.random.key(0), images, sizes)
    assert result.shape == (6, 16, 16, 3)
    np.testing.assert_allclose(result, -0.4, atol=1e-5)  # (102 / 255 - 0.5) / 0.25
    pictures = np.repeat(photograph[None], 6, axis=0)
    first, second = (transform(jax.random.key(seed), pictures) for seed in (0, 1))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, transform(jax.random.key(0), pictures))

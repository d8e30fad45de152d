"""Pixels after decoding, resizing and cutting, on images whose answer is known by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from gtn_jax.data.decode import decode, decode_whole, whole_size


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_same_size_is_untouched():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(png(pixels), 8, "a.png"), pixels)


def test_gray_becomes_three_equal_channels():
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(decode(png(pixels), 8, "a.png"), np.stack([pixels] * 3, -1))


@pytest.mark.parametrize("transposed", [False, True])
def test_centre_square_of_a_long_image(transposed):
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = 200  # the middle third
    if transposed:
        pixels = pixels.transpose(1, 0, 2)
    np.testing.assert_array_equal(decode(png(pixels), 4, "a.png"), np.full((4, 4, 3), 200))


def test_short_side_is_resized():
    pixels = np.full((10, 20, 3), 77, np.uint8)
    np.testing.assert_array_equal(decode(png(pixels), 5, "a.png"), np.full((5, 5, 3), 77))


def truncated() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return png(noise)[:100]


@pytest.mark.parametrize("encoded", [b"", b"<html>", truncated()], ids=["empty", "html", "half"])
def test_unreadable_bytes_are_named(encoded):
    with pytest.raises(ValueError, match=r"cat/7.png: not a readable image"):
        decode(encoded, 8, "cat/7.png")


def torchvision_evaluation(image: Image.Image, resize: int, crop: int) -> np.ndarray:
    """Resize and CenterCrop by the words of torchvision/transforms/functional.py.

    `_compute_resized_output_size`: the short side becomes `resize`, the long one
    int(resize * long / short). `center_crop`: offsets int(round((side - crop) / 2.0)).
    """
    width, height = image.size
    if width <= height:
        size = (resize, int(resize * height / width))
    else:
        size = (int(resize * width / height), resize)
    resized = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (int(round((side - crop) / 2.0)) for side in resized.size)
    return np.asarray(resized.crop((left, top, left + crop, top + crop)))


@pytest.mark.parametrize(
    ("width", "height"),
    [(500, 375), (333, 500), (257, 300), (256, 256), (100, 100), (224, 391), (255, 258), (97, 384)],
)
def test_evaluation_sees_what_torchvision_cuts_out(width, height):
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = torchvision_evaluation(Image.fromarray(noise), 256, 224)
    found = decode(png(noise), 224, "a.png", short_side=256)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("width", "height"), [(401, 100), (100, 1001), (1300, 300), (1000, 225)])
def test_the_middle_of_a_long_image_too(width, height):
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = torchvision_evaluation(Image.fromarray(noise), 256, 224)
    found = decode(png(noise), 224, "a.png", short_side=256)
    # Pillow rounds its weights to fixed point, for another box otherwise.
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (3, 2)])
def test_smallest_and_longest_images(size):
    pixels = np.full((*size, 3), 77, np.uint8)
    found = decode(png(pixels), 224, "a.png", short_side=256)
    np.testing.assert_array_equal(found, np.full((224, 224, 3), 77))


@pytest.mark.parametrize(
    ("size", "whole"), [((500, 375), (256, 341)), ((333, 500), (384, 256)), ((10, 90), (1024, 256))]
)
def test_size_of_the_whole_is_known_before(size, whole):
    """By hand: int(256 * 500 / 375) = 341, int(256 * 500 / 333) = 384, and 4 times 256."""
    encoded = png(np.zeros((size[1], size[0], 3), np.uint8))
    assert decode_whole(encoded, 256, "a.png").shape == (*whole, 3)
    assert whole_size(size[1], size[0], 256) == whole

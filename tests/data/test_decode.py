"""Pixels after decoding, resizing and cutting, on images whose answer is known by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from gtn_jax.data.decode import decode


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_same_size_is_untouched():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(png(pixels), 8, "a.png"), pixels)


def test_grey_becomes_three_equal_channels():
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


def test_field_of_view_against_the_authors_evaluation():
    """Theirs cuts 224 px out of a short side of 256; ours shows the whole: 8/7 of their width."""
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))  # grey level = column
    ours = decode(png(ramp), 224, "a.png")[112, :, 0].astype(int)
    theirs = np.asarray(Image.fromarray(ramp).crop((16, 16, 240, 240)))[112].astype(int)
    assert (theirs[0], theirs[-1]) == (16, 239)
    assert ours[0] <= 1 and ours[-1] >= 254
    np.testing.assert_allclose((ours[-1] - ours[0]) / (theirs[-1] - theirs[0]), 8 / 7, atol=0.01)

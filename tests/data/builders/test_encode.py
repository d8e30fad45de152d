"""Our PNGs, as Pillow reads them."""

import io

import numpy as np
import pytest
from PIL import Image

from gtn_jax.data.builders.encode import encode_png


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (9, 1, 3), (256, 341, 3), (300, 256, 3)])
def test_pillow_reads_the_same_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        image.verify()
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3))]
)
def test_other_arrays_are_refused(pixels):
    with pytest.raises(ValueError, match="expected uint8 H W 3"):
        encode_png(pixels)

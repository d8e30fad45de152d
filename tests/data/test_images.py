"""What a batch of images holds, wherever they are kept."""

import numpy as np
import pytest

from gtn_jax.data import images as data_images
from gtn_jax.data.decode import decode_whole
from gtn_jax.data.images import View, load, open_images
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import whole
from tests.png_files import PngFiles


@pytest.mark.parametrize("limit", [2**31, 100], ids=["in memory", "streamed"])
def test_whole_images_keep_their_aspect_and_tell_their_size(monkeypatch, limit):
    monkeypatch.setattr(data_images, "MEMORY_LIMIT_BYTES", limit)
    split = Split(PngFiles([(8, 12), (20, 8), (10, 10)]), ("a", "b", "c"), "train")
    view = View(image_size=6, short_side=8, whole=True)
    images = load(whole(split), view)
    assert (images.height, images.width) == (20, 12)
    batch = images.gather(np.array([1, 0, 2]))
    assert batch.images.shape == (3, 20, 12, 3)
    assert batch.sizes.tolist() == [[20, 8], [8, 12], [8, 8]]
    assert batch.labels.tolist() == [1, 0, 2]
    # The first two need no resizing: every pixel as it was, nothing beyond.
    rows, columns = np.mgrid[:20, :8]
    np.testing.assert_array_equal(batch.images[0, :20, :8, 0], rows)
    np.testing.assert_array_equal(batch.images[0, :20, :8, 1], columns)
    assert not batch.images[0, :, 8:].any() and not batch.images[1, 8:].any()
    expected = decode_whole(split.read([2])[0]["image"], 8, "2.png")
    np.testing.assert_array_equal(batch.images[2, :8, :8], expected)


def test_choices_from_one_split_have_one_shape():
    """Seeds choose other images; a program of theirs is compiled for one shape of array."""
    part = whole(Split(PngFiles([(8, 8), (8, 12), (8, 10)]), ("a", "b", "c"), "train"))
    view = View(8, 8, whole=True)
    for rows in ([0], [0, 2], [1]):
        images = open_images(part.only(np.array(rows)), view)
        assert (images.height, images.width) == (8, 12)
        assert images.gather(np.array([0])).images.shape == (1, 8, 12, 3)
    assert open_images(part.only(np.array([0])), View(8, 8)).width == 8
    # 8 x 12 is just half as much room again; of 8 x 13 none is made for an image of 8 x 8.
    part = whole(Split(PngFiles([(8, 8), (8, 13)]), ("a", "b"), "train"))
    assert open_images(part.only(np.array([0])), view).width == 8
    assert open_images(part.only(np.array([1])), view).width == 13

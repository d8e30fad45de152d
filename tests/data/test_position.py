"""No image twice and none left out over three epochs, however often they are interrupted."""

import numpy as np
import pytest

from gtn_jax.config import DataConfig
from gtn_jax.data import pipeline, position
from gtn_jax.data.images import View, load
from gtn_jax.data.sources import open_splits
from gtn_jax.data.subsets import choose, fingerprint

VIEW = View(image_size=8, short_side=8)


@pytest.fixture(scope="module")
def images(data_dir):
    """30 digits."""
    data = DataConfig(train_images_per_class=3)
    return load(choose(open_splits("digits", data_dir), data, seed=0)["train"], VIEW)


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("stops", [(), (1, 2, 5, 6, 8), (4,), tuple(range(13))])
def test_three_interrupted_epochs_show_every_image_thrice(images, threads, stops):
    """30 images in batches of 7, the last of 2: 5 steps an epoch, stopped before `stops`."""

    def start():
        arguments = (images, 7, "keep", 3, lambda step, rows: (step, rows), threads)
        return pipeline.training_batches(*arguments)

    batches, found = start(), []
    for step in range(15):
        if step in stops:
            place = batches.get_state()
            batches.close()
            batches = start()
            batches.set_state(place)
        number, rows = next(batches)
        assert number == step
        found.append(rows)
    batches.close()
    for epoch in range(3):
        rows = np.concatenate(found[5 * epoch : 5 * epoch + 5])
        np.testing.assert_array_equal(np.sort(rows), np.arange(30))
    for step, rows in enumerate(found):
        np.testing.assert_array_equal(pipeline.rows_of_step(images, 7, "keep", 3, step), rows)


def test_another_order_is_refused_field_by_field(images):
    data = DataConfig(train_images_per_class=3)
    of_images = fingerprint(images.part)
    kept = position.describe(data, of_images, batch_size=8, seed=0)
    position.check(kept, dict(kept), "checkpoints/5")
    position.check(None, kept, "checkpoints/5")  # from before there was anything to compare with
    fewer = fingerprint(images.part.only(np.arange(29)))
    flipless = DataConfig(train_images_per_class=3, random_flip=False)
    for now, change in (
        (position.describe(data, of_images, 8, 1), "seed: 0 -> 1"),
        (position.describe(data, of_images, 6, 0), "data.batch_size: 8 -> 6"),
        (position.describe(data, fewer, 8, 0), "training images: 30 -> 29; digest of their names"),
        (position.describe(flipless, of_images, 8, 0), "data.random_flip: True -> False"),
    ):
        with pytest.raises(ValueError, match=change) as error:
            position.check(kept, now, "checkpoints/5")
        assert "checkpoints/5: its data position" in str(error.value)
        assert len(str(error.value).splitlines()) <= 3

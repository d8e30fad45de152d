"""Order, completeness, position and padding of batches."""

import numpy as np
import pytest

from gtn_jax.config import DataConfig
from gtn_jax.data import images as data_images
from gtn_jax.data import pipeline
from gtn_jax.data.images import ImagesInMemory, View, load
from gtn_jax.data.sources import open_splits
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import Subset, choose, whole
from tests.png_files import PngFiles

SQUARE = View(image_size=8, short_side=8)


@pytest.fixture(scope="module")
def part(data_dir) -> Subset:
    """40 digits."""
    digits = open_splits("digits", data_dir)
    return choose(digits, DataConfig(train_images_per_class=4), seed=0)["train"]


@pytest.fixture(scope="module")
def images(part):
    return load(part, SQUARE)


def identify(batch) -> list[bytes]:
    return [image.tobytes() for image in batch.images]


@pytest.mark.parametrize(("last_batch", "sizes"), [("drop", [12] * 3), ("keep", [12] * 3 + [4])])
def test_every_epoch_shows_each_image_once_in_another_order(images, last_batch, sizes):
    batches = pipeline.training_batches(images, 12, last_batch, seed=0)
    assert pipeline.steps_per_epoch(40, 12, last_batch) == len(sizes)
    epochs = [[next(batches) for _ in sizes] for _ in range(2)]
    for epoch in epochs:
        assert [len(batch.labels) for batch in epoch] == sizes
        seen = [image for batch in epoch for image in identify(batch)]
        assert len(set(seen)) == sum(sizes)
    assert identify(epochs[0][0]) != identify(epochs[1][0])


def test_position_resumes_exactly(images):
    straight = pipeline.training_batches(images, 8, "drop", seed=3)
    for _ in range(7):
        next(straight)
    position = straight.get_state()
    resumed = pipeline.training_batches(images, 8, "drop", seed=3)
    resumed.set_state(position)
    for _ in range(6):
        assert identify(next(straight)) == identify(next(resumed))


def test_what_makes_a_batch_is_told_its_step(images):
    """5 steps an epoch, 3 epochs; also after a resume, and the rows are those of the images."""
    straight = pipeline.training_batches(images, 8, "drop", 0, lambda step, rows: (step, rows))
    found = [next(straight) for _ in range(15)]
    assert [step for step, _ in found] == list(range(15))
    plain = pipeline.training_batches(images, 8, "drop", 0)
    for _, rows in found:
        assert identify(next(plain)) == identify(images.gather(rows))
    resumed = pipeline.training_batches(images, 8, "drop", 0, lambda step, rows: (step, rows))
    resumed.set_state(plain.get_state())
    assert next(resumed)[0] == 15


def test_seed_sets_the_order(images):
    first = [identify(next(pipeline.training_batches(images, 8, "drop", s))) for s in (0, 0, 1)]
    assert first[0] == first[1] != first[2]


def test_streaming_gives_the_same_batches(images, part, monkeypatch):
    monkeypatch.setattr(data_images, "MEMORY_LIMIT_BYTES", 100)
    streamed = load(part, SQUARE)
    assert not isinstance(streamed, ImagesInMemory)
    a = next(pipeline.training_batches(streamed, 8, "drop", 0))
    b = next(pipeline.training_batches(images, 8, "drop", 0))
    assert identify(a) == identify(b)
    np.testing.assert_array_equal(a.labels, b.labels)


def test_evaluation_pads_the_last_batch(images):
    batches = list(pipeline.evaluation_batches(images, 16))
    assert [batch.images.shape for batch in batches] == [(16, 8, 8, 3)] * 3
    assert [batch.mask.sum() for batch in batches] == [16, 16, 8]
    labels = np.concatenate([batch.labels[batch.mask > 0] for batch in batches])
    np.testing.assert_array_equal(labels, images.part.labels)


def test_batch_size_that_works():
    assert pipeline.fit_batch_size(64, 1000, 4) == 64
    assert pipeline.fit_batch_size(64, 10, 4) == 8
    assert pipeline.fit_batch_size(8, 4, 4) == 4
    assert pipeline.fit_batch_size(64, 60, 4, micro_batches=4) == 48


def test_batch_size_that_does_not_divide():
    with pytest.raises(ValueError, match="10 images do not divide over 4 devices; .* 8 or 12"):
        pipeline.fit_batch_size(10, 1000, 4)
    with pytest.raises(ValueError, match="nearest: 4$"):
        pipeline.fit_batch_size(3, 1000, 4)
    with pytest.raises(ValueError, match="3 training images for 4 devices"):
        pipeline.fit_batch_size(8, 3, 4)
    with pytest.raises(ValueError, match=r"8 images .* 4 devices and 4 micro-batches .*: 16$"):
        pipeline.fit_batch_size(8, 1000, 4, micro_batches=4)
    with pytest.raises(ValueError, match="7 training images for 4 devices and 2 micro-batches"):
        pipeline.fit_batch_size(8, 7, 4, micro_batches=2)


def test_evaluation_fills_up_sizes_too():
    split = Split(PngFiles([(8, 12)]), ("a", "b"), "test")
    images = load(whole(split), View(6, 8, whole=True))
    (batch,) = pipeline.evaluation_batches(images, 4)
    assert batch.sizes.tolist() == [[8, 12], [0, 0], [0, 0], [0, 0]]


def test_an_epoch_of_videos_shows_a_frame_of_each_clip():
    split = Split(PngFiles([(8, 8)] * 6), tuple("abcdef"), "train", clips=True)
    files = np.array(["a/one/1", "a/one/2", "a/one/3", "a/two/1", "a/two/2", "b/three/1"])
    part = Subset(
        split, np.arange(6), np.array([0, 0, 0, 0, 0, 1], np.int32), files, np.full((6, 2), 8)
    )
    images = load(part, View(8, 8))
    assert (len(images), images.epoch_images) == (6, 3)
    batches = pipeline.training_batches(images, 3, "drop", seed=0)
    shown = [sorted({int(row) for row in next(batches).images[:, 0, 0, 2]}) for _ in range(30)]
    # Pixels tell the number of the frame: 0 to 2, 3 or 4, and 5, in every epoch one of each.
    assert all(a in (0, 1, 2) and b in (3, 4) and c == 5 for a, b, c in shown)
    assert {a for a, _, _ in shown} == {0, 1, 2} and {b for _, b, _ in shown} == {3, 4}

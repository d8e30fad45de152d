"""Order, completeness, position and padding of batches."""

import numpy as np
import pytest

from gtn_jax.data import pipeline
from gtn_jax.data.sources import open_splits


@pytest.fixture(scope="module")
def images(data_dir):
    """40 digits."""
    return pipeline.load(open_splits("digits", data_dir)["train"], 8, images_per_class=4)


def identify(batch) -> list[bytes]:
    return [image.tobytes() for image in batch.images]


def test_choice_per_class(data_dir):
    split = open_splits("digits", data_dir)["train"]
    chosen = {seed: pipeline.load(split, 8, 4, seed) for seed in (0, 1)}
    assert np.bincount(chosen[0].labels).tolist() == [4] * 10
    assert chosen[0].positions.tolist() == pipeline.load(split, 8, 4, 0).positions.tolist()
    assert chosen[0].positions.tolist() != chosen[1].positions.tolist()
    # A class with fewer gives all it has: by hand, of labels 0 0 1.
    assert pipeline.choose_per_class(np.array([0, 0, 1]), 2, 0).tolist() == [0, 1, 2]


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


def test_seed_sets_the_order(images):
    first = [identify(next(pipeline.training_batches(images, 8, "drop", s))) for s in (0, 0, 1)]
    assert first[0] == first[1] != first[2]


def test_streaming_gives_the_same_batches(images, data_dir, monkeypatch):
    monkeypatch.setattr(pipeline, "MEMORY_LIMIT_BYTES", 100)
    streamed = pipeline.load(open_splits("digits", data_dir)["train"], 8, images_per_class=4)
    assert streamed.pixels is None
    a = next(pipeline.training_batches(streamed, 8, "drop", 0))
    b = next(pipeline.training_batches(images, 8, "drop", 0))
    assert identify(a) == identify(b)
    np.testing.assert_array_equal(a.labels, b.labels)


def test_evaluation_pads_the_last_batch(images):
    batches = list(pipeline.evaluation_batches(images, 16))
    assert [batch.images.shape for batch in batches] == [(16, 8, 8, 3)] * 3
    assert [batch.mask.sum() for batch in batches] == [16, 16, 8]
    labels = np.concatenate([batch.labels[batch.mask > 0] for batch in batches])
    np.testing.assert_array_equal(labels, images.labels)


def test_batch_size_that_works():
    assert pipeline.fit_batch_size(64, 1000, 4) == 64
    assert pipeline.fit_batch_size(64, 10, 4) == 8
    assert pipeline.fit_batch_size(8, 4, 4) == 4


def test_batch_size_that_does_not_divide():
    with pytest.raises(ValueError, match="10 images do not divide over 4 devices; .* 8 or 12"):
        pipeline.fit_batch_size(10, 1000, 4)
    with pytest.raises(ValueError, match="nearest: 4$"):
        pipeline.fit_batch_size(3, 1000, 4)
    with pytest.raises(ValueError, match="3 training images for 4 devices"):
        pipeline.fit_batch_size(8, 3, 4)

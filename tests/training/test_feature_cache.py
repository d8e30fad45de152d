"""Frozen epochs on cached features against steps that see the images of the same views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.arrays import Batch, Pooled, PooledBatch
from gtn_jax.data.augment import training_transform
from gtn_jax.data.images import Images, ImagesInMemory, View
from gtn_jax.data.subsets import Subset
from gtn_jax.data.targets import batch_transform
from gtn_jax.devices import data_mesh, replicate
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.training.feature_cache import FeatureCache, compute_features, frozen_gather
from gtn_jax.training.forward_steps import make_pooling_step
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step

IMAGES, VIEWS, PER_EPOCH, EPOCHS = 12, 2, 3, 3
TRANSFORM = training_transform((0.5,) * 3, (0.25,) * 3, random_flip=True, random_shift_pixels=2)


@pytest.fixture(scope="module")
def model():
    return GTN("tiny", 5, gate_reduction=4)


@pytest.fixture(scope="module")
def optimizer():
    constant = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    return build_optimizer(0.9, 1e-4, constant, frozen_steps=EPOCHS * PER_EPOCH)


@pytest.fixture(scope="module")
def start(model, optimizer):
    return create_state(init_variables(model, 0), optimizer, 0.1, seed=3)


@pytest.fixture(scope="module")
def images() -> Images:
    """12 of noise, 16 x 16."""
    generator = np.random.default_rng(0)
    pixels = list(generator.integers(0, 256, (IMAGES, 16, 16, 3), dtype=np.uint8))
    labels = generator.integers(0, 5, IMAGES).astype(np.int32)
    part = Subset(None, np.arange(IMAGES), labels, labels.astype(str), np.full((IMAGES, 2), 16))
    return ImagesInMemory(part, View(16, 16), 16, 16, bytes=IMAGES * 768, pixels=pixels)


@pytest.fixture(scope="module")
def pooling_step(model):
    return jax.jit(make_pooling_step(model, TRANSFORM))


@pytest.fixture(scope="module")
def order() -> list[np.ndarray]:
    """The rows of each step's batch."""
    generator = np.random.default_rng(1)
    epochs = [generator.permutation(IMAGES) for _ in range(EPOCHS)]
    return [rows for epoch in epochs for rows in np.split(epoch, PER_EPOCH)]


@pytest.fixture(scope="module")
def computed_anew(model, optimizer, start, images, order):
    """State and metrics where the full step augments, image by image, and runs the backbone."""

    def view_of(key, images, sizes):
        del key
        keys = jax.random.fold_in(start.key, 4294967295)
        views, rows = sizes.T  # not sizes: these images fill their arrays
        return jnp.concatenate(
            [
                TRANSFORM(jax.random.fold_in(jax.random.fold_in(keys, view), row), image[None])
                for view, row, image in zip(views, rows, images, strict=True)
            ]
        )

    step = jax.jit(
        make_train_step(
            model,
            optimizer,
            batch_transform(view_of),
            gtn_loss(0.2),
            frozen=["backbone/.*"],
            batch_norm="running",
        )
    )
    state = start
    for number, rows in enumerate(order):
        view = np.full(4, [0, 0, 0, 1, 1, 1, 0, 0, 0][number])
        told = np.stack([view, rows], axis=1).astype(np.int32)
        pixels = np.stack([images.pixels[row] for row in rows])
        batch = Batch(pixels, images.part.labels[rows], np.ones(4, np.float32), told)
        state, metrics = step(state, batch)
    return state, metrics


def on_cached(model, optimizer, start, cache, images, order):
    transform, loss = batch_transform(TRANSFORM), gtn_loss(0.2)
    step = jax.jit(make_train_step(model, optimizer, transform, loss, frozen=["backbone/.*"]))
    gather = frozen_gather(cache, images, PER_EPOCH, EPOCHS)
    state = start
    for number, rows in enumerate(order):
        state, metrics = step(state, gather(number, rows))
    return state, metrics


@pytest.mark.slow
@pytest.mark.optimized
def test_same_bits_as_computed_anew(
    model, optimizer, start, images, pooling_step, order, computed_anew
):
    """At equal batch shape; the whole state and all metrics, after nine steps of two views.

    In the machine code that users get: in unoptimized code the two programs differ by an ulp.
    """
    cache = compute_features(
        pooling_step, start.variables, start.key, images, VIEWS, 4, data_mesh(1)
    )
    state, metrics = on_cached(model, optimizer, start, cache, images, order)
    expected, expected_metrics = computed_anew
    assert metrics == expected_metrics
    plain = [s.replace(key=jax.random.key_data(s.key)) for s in (state, expected)]
    jax.tree.map(np.testing.assert_array_equal, *plain)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), start.params, state.params)
    assert {name: any(jax.tree.leaves(tree)) for name, tree in moved.items()} == {
        "backbone": False,
        "gate": True,
        "classifier": True,
        "aux_classifier": True,
    }


def test_same_to_rounding_in_other_batches_on_other_devices(
    model, optimizer, start, images, pooling_step, order, computed_anew
):
    """Batches of 8 leave 4 images and 4 empty rows."""
    mesh = data_mesh(4)
    variables, key = replicate((start.variables, start.key), mesh)
    cache = compute_features(pooling_step, variables, key, images, VIEWS, 8, mesh)
    state, _ = on_cached(model, optimizer, start, cache, images, order)
    expected, _ = computed_anew
    for found, truth in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(expected.params), strict=True
    ):
        np.testing.assert_allclose(found, truth, atol=1e-6)


def test_epochs_take_turns_with_the_views(images):
    """Features that say view and row; after the frozen epochs the images come."""
    numbers = 100 * np.arange(2.0, dtype=np.float32)[:, None] + np.arange(IMAGES, dtype=np.float32)
    cache = FeatureCache(Pooled(numbers[..., None], None), images.part.labels)
    assert cache.bytes == 2 * 12 * 4
    gather = frozen_gather(cache, images, per_epoch=2, frozen_epochs=3)
    rows = np.array([7, 1])
    batches = [gather(step, rows) for step in range(6)]
    assert [batch.pooled.final[:, 0].tolist() for batch in batches] == [
        [7, 1], [7, 1], [107, 101], [107, 101], [7, 1], [7, 1]
    ]  # fmt: skip
    assert all(isinstance(batch, PooledBatch) for batch in batches)
    assert batches[0].labels.tolist() == images.part.labels[rows].tolist()
    after = gather(6, rows)
    assert isinstance(after, Batch)
    np.testing.assert_array_equal(after.images[1], images.pixels[1])

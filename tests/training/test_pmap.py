"""The step under pmap: what it shares with the jitted step, and the BatchNorm it does not share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.arrays import Batch
from gtn_jax.data.augment import evaluation_transform, training_transform
from gtn_jax.data.targets import batch_transform
from gtn_jax.devices import data_mesh, put_batch, replicate
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.training.losses import Loss, gtn_loss
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.pmap import make_pmap_train_step, split_batch
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step

DEVICES = 4
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
PLAIN = evaluation_transform(MEAN, STD)
RANDOM = training_transform(MEAN, STD, random_flip=True, random_shift_pixels=2)


def batch_of(size: int, seed: int = 0) -> Batch:
    """Brightness rises with the row, so that shards differ in their statistics; so does the label,
    so that there is something to learn."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 128, (size, 16, 16, 3))
    images = images + np.linspace(0, 127, size).astype(int).reshape(-1, 1, 1, 1)
    labels = (np.arange(size) * 5 // size).astype(np.int32)
    return Batch(images.astype(np.uint8), labels, np.ones(size, np.float32))


def gtn(dropout: float) -> GTN:
    return GTN("tiny", 5, gate_reduction=4, gate_dropout=dropout, classifier_dropout=dropout)


@pytest.fixture(scope="module")
def optimizer():
    constant = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    return build_optimizer(0.9, 1e-4, constant, frozen_steps=0)


@pytest.fixture(scope="module")
def start(optimizer):
    return create_state(init_variables(gtn(0.0), 0), optimizer, 0.1, seed=0)


@pytest.fixture(scope="module")
def plain_steps(optimizer):
    """Under pmap and under jit: BatchNorm of the batch, nothing random."""
    arguments = (gtn(0.0), optimizer, batch_transform(PLAIN), gtn_loss(0.2))
    return make_pmap_train_step(*arguments), jax.jit(make_train_step(*arguments))


@pytest.fixture(scope="module")
def random_step(optimizer):
    """Under pmap, with shifts, flips and dropout."""
    return make_pmap_train_step(gtn(0.1), optimizer, batch_transform(RANDOM), gtn_loss(0.2))


def assert_close(found, expected, tolerance: float):
    for path, leaf in jax.tree.leaves_with_path(expected):
        leaf = np.asarray(leaf).astype(float)
        other = dict(jax.tree.leaves_with_path(found))[path]
        scale = max(float(np.abs(leaf).max()), 1e-3)
        error = float(np.abs(np.asarray(other).astype(float) - leaf).max()) / scale
        assert error < tolerance, f"{jax.tree_util.keystr(path)}: {error}"


def trees(state):
    return {"params": state.params, "stats": state.batch_stats, "momentum": state.opt_state}


@pytest.mark.parametrize("frozen", [pytest.param([], marks=pytest.mark.release), ["backbone/.*"]])
def test_equals_jit_where_no_device_is_special(optimizer, start, frozen):
    """Running statistics, nothing random: the mean of equal shares is the whole."""
    options = {"frozen": frozen, "batch_norm": "running"}
    arguments = (gtn(0.0), optimizer, batch_transform(PLAIN), gtn_loss(0.2))
    jitted = jax.jit(make_train_step(*arguments, **options))
    mapped = make_pmap_train_step(*arguments, **options)
    state, other = start, start
    for number in range(2):
        state, expected = jitted(state, batch_of(16, number))
        other, metrics = mapped(other, batch_of(16, number))
        assert set(metrics) == set(expected)
        assert_close(metrics, expected, 1e-5)
    assert int(other.step) == 2
    assert_close(trees(other), trees(state), 1e-5)
    for before, after in zip(
        jax.tree.leaves(start.batch_stats), jax.tree.leaves(other.batch_stats), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_batch_norm_is_per_device(plain_steps, start):
    """The truth is the jitted step on a quarter of the rows, four times, averaged by numpy."""
    mapped, single = plain_steps
    batch = batch_of(16)
    found, metrics = mapped(start, batch)
    shards = [single(start, Batch(*(a[i : i + 4] for a in batch[:3]))) for i in range(0, 16, 4)]
    # With momentum 0 at the start, the new parameters are linear in the gradient.
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *[trees(s) for s, _ in shards])
    assert_close(trees(found), mean, 1e-5)
    for name in ("loss", "classifier_loss", "accuracy"):
        expected = np.mean([float(shard[name]) for _, shard in shards])
        np.testing.assert_allclose(metrics[name], expected, rtol=1e-5)

    @jax.jit
    def statistics_of_the_whole(variables):
        images = PLAIN(jax.random.key(0), batch.images)
        return gtn(0.0).apply(variables, images, train=True, mutable=["batch_stats"])[1]

    whole = statistics_of_the_whole(start.variables)["batch_stats"]
    # The first layer sees the same pixels: the mean of means is the mean; the variance lacks what
    # lies between the shards, so running variances are lower by its share.
    mapped_stats, whole_stats = found.batch_stats["backbone"], whole["backbone"]
    np.testing.assert_allclose(
        mapped_stats["bn1"]["mean"], whole_stats["bn1"]["mean"], rtol=1e-4, atol=1e-6
    )
    shard_means = [np.asarray(s.batch_stats["backbone"]["bn1"]["mean"]) * 10 for s, _ in shards]
    between = 0.1 * np.var(shard_means, axis=0)
    lacking = np.asarray(whole_stats["bn1"]["var"] - mapped_stats["bn1"]["var"])
    np.testing.assert_allclose(lacking, between, rtol=1e-3, atol=1e-6)
    assert (between > 1e-3).any()


def test_every_device_draws_its_own_numbers(random_step, start):
    """The same four rows on every device; shifts and dropout redrawn by hand from device keys."""
    rows = Batch(*(array[:4] for array in batch_of(16)[:3]))
    batch = Batch(*(np.concatenate([array] * DEVICES) for array in rows[:3]))
    _, metrics = random_step(start, batch)

    @jax.jit
    def loss_on(device: jax.Array) -> Loss:
        key = jax.random.fold_in(jax.random.fold_in(start.key, 0), device)
        images = RANDOM(jax.random.fold_in(key, 0), rows.images)
        rngs = {"dropout": jax.random.fold_in(key, 1)}
        outputs, _ = gtn(0.1).apply(
            start.variables, images, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        return gtn_loss(0.2)({}, outputs, rows)

    losses = np.array([loss_on(jnp.int32(device)) for device in range(DEVICES)])
    assert len({round(float(loss), 4) for loss in losses[:, 0]}) == DEVICES
    expected = np.mean(losses, axis=0)
    np.testing.assert_allclose((metrics["loss"], metrics["classifier_loss"]), expected, rtol=1e-5)
    assert expected[0] > 1.1 * expected[1]


def test_state_stays_equal_and_learns(random_step, start):
    """Twenty steps with everything random: one state on four devices, and a falling loss."""
    # Mixed, or the statistics of each device would take its brightness, and so its label, away.
    order = np.random.default_rng(0).permutation(16)
    batch = Batch(*(array[order] for array in batch_of(16)[:3]))
    state, losses = start.at_rate(jnp.float32(0.3)), []
    for _ in range(20):
        state, metrics = random_step(state, batch)
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    for leaf in jax.tree.leaves(trees(state)):
        copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(copies) == DEVICES
        assert leaf.shape == copies[0].shape
        for copy in copies[1:]:
            np.testing.assert_array_equal(copy, copies[0])


def test_state_goes_to_a_jitted_step_and_back(plain_steps, start):
    mapped, jitted = plain_steps
    mesh = data_mesh()
    state, _ = mapped(start, batch_of(16))
    state, _ = jitted(replicate(state, mesh), put_batch(batch_of(16), mesh))
    state, metrics = mapped(state, batch_of(16))
    assert int(state.step) == 3
    assert jnp.isfinite(metrics["loss"])


def test_rows_are_split_in_order():
    batch = split_batch(batch_of(8), 4)
    assert [array.shape for array in batch[:3]] == [(4, 2, 16, 16, 3), (4, 2), (4, 2)]
    np.testing.assert_array_equal(batch.images[1, 1], batch_of(8).images[3])
    with pytest.raises(ValueError, match="batch of 6 images: 4 devices do not divide it"):
        split_batch(batch_of(6), 4)

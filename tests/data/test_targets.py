"""Mixtures by their formula, their shares by what the Beta distribution says, padding left out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.arrays import Batch
from gtn_jax.data import targets
from gtn_jax.data.augment import evaluation_transform
from gtn_jax.devices import data_mesh, put_batch

mix = jax.jit(targets.mix, static_argnums=2)


def batch_of(rows: int, padded: int = 0) -> Batch:
    generator = np.random.default_rng(0)
    mask = np.ones(rows, np.float32)
    mask[rows - padded :] = 0
    images = generator.normal(size=(rows, 2, 3, 3)).astype(np.float32)
    labels = np.arange(rows, dtype=np.int32)
    return Batch(images, labels, mask, targets=np.eye(rows, dtype=np.float32))


def test_every_image_with_the_one_before():
    batch = batch_of(6)
    found = mix(jax.random.key(3), batch, 1.0)
    np.testing.assert_array_equal(found.labels, batch.labels)
    shares = np.diag(found.targets)
    np.testing.assert_allclose(found.targets[batch.labels, [5, 0, 1, 2, 3, 4]], 1 - shares)
    assert len(set(shares.tolist())) == 6 and 0.5 <= shares.min() < shares.max() < 1
    for row, share in enumerate(shares):
        expected = share * batch.images[row] + (1 - share) * batch.images[row - 1]
        np.testing.assert_allclose(found.images[row], expected, rtol=1e-6, atol=1e-6)


def test_what_fills_a_batch_is_not_mixed_in():
    batch = batch_of(6, padded=2)
    found = mix(jax.random.key(3), batch, 1.0)
    # Row 0 would get row 5, which is padding, as 4 and 5 are themselves.
    whole = np.diag(found.targets) == 1
    assert whole.tolist() == [True, False, False, False, True, True]
    for row in (0, 4, 5):
        np.testing.assert_array_equal(found.images[row], batch.images[row])


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (1.0, 0.75),  # all shares alike
        (0.5, 0.5 + 1 / math.pi),  # the arcsine distribution
    ],
)
def test_mean_of_the_larger_share(alpha, expected):
    rows = 4000
    batch = Batch(jnp.zeros((rows, 1, 1, 1)), jnp.zeros(rows, jnp.int32), jnp.ones(rows))
    # Each row's own target is 1 in column 0 or 1, its neighbor's in the other one.
    batch = batch._replace(targets=jnp.tile(jnp.eye(2), (rows // 2, 1)))
    found = np.asarray(mix(jax.random.key(0), batch, alpha).targets)
    # Its deviation is below 0.16, that of the mean below 0.0026.
    assert float(found.max(axis=1).mean()) == pytest.approx(expected, abs=0.01)


def test_devices_change_nothing():
    batch, key = batch_of(8, padded=1), jax.random.key(1)
    alone, apart = (mix(key, put_batch(batch, data_mesh(n)), 0.4) for n in (1, 4))
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(apart), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_label_smoothing_by_hand():
    """0.8 + 0.2 / 4 for the label, 0.2 / 4 for each other one; of mixed images their mean."""
    transform = targets.batch_transform(evaluation_transform((0.0,) * 3, (1.0,) * 3), 4, 0.2)
    batch = Batch(np.zeros((2, 1, 1, 3), np.uint8), np.int32([1, 3]), np.ones(2, np.float32))
    found = transform(jax.random.key(0), batch)
    expected = [[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]]
    np.testing.assert_allclose(found.targets, expected, rtol=1e-6)
    mixing = targets.batch_transform(evaluation_transform((0.0,) * 3, (1.0,) * 3), 4, 0.2, 1.0)
    mixed = np.asarray(mixing(jax.random.key(0), batch).targets)
    share = (mixed[0, 1] - 0.05) / 0.8
    assert 0.5 < share < 1
    np.testing.assert_allclose(mixed[0], [0.05, 0.05 + 0.8 * share, 0.05, 0.85 - 0.8 * share])


def test_labels_are_left_alone_where_nothing_softens_them():
    transform = targets.batch_transform(evaluation_transform((0.0,) * 3, (1.0,) * 3))
    batch = Batch(np.zeros((2, 1, 1, 3), np.uint8), np.int32([1, 3]), np.ones(2, np.float32))
    assert transform(jax.random.key(0), batch).targets is None

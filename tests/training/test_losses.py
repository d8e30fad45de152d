"""Losses and sums by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gtn_jax.arrays import Mixed, Outputs
from gtn_jax.training.losses import gtn_loss, mean_cross_entropy

# Two classes with logits (0, log 3): probabilities 1/4 and 3/4.
LOGITS = jnp.log(jnp.array([[1.0, 3.0], [1.0, 3.0], [1.0, 3.0]]))
LABELS = jnp.array([0, 1, 1], jnp.int32)


def outputs(aux_logits):
    return Outputs(LOGITS, aux_logits, jnp.ones((3, 2)), jnp.ones((3, 2)))


def test_mean_over_real_rows():
    mask = jnp.array([1.0, 1.0, 0.0])
    loss = mean_cross_entropy(LOGITS, LABELS, mask)
    np.testing.assert_allclose(loss, (math.log(4) + math.log(4 / 3)) / 2, rtol=1e-6)


def test_auxiliary_term_is_weighted():
    even = jnp.zeros((3, 2))  # probabilities 1/2: log 2 nats each
    mask = jnp.array([1.0, 1.0, 0.0])
    main = (math.log(4) + math.log(4 / 3)) / 2
    alone = gtn_loss(outputs(None), LABELS, mask, 0.2)
    np.testing.assert_allclose(alone, [main, main], rtol=1e-6)
    with_aux = gtn_loss(outputs(even), LABELS, mask, 0.2)
    np.testing.assert_allclose(with_aux.total, main + 0.2 * math.log(2), rtol=1e-6)
    np.testing.assert_allclose(with_aux.classifier, main, rtol=1e-6)


def test_masked_rows_have_no_gradient():
    mask = jnp.array([1.0, 1.0, 0.0])
    gradient = jax.grad(mean_cross_entropy)(LOGITS, LABELS, mask)
    np.testing.assert_array_equal(gradient[2], [0.0, 0.0])
    # softmax - one_hot, over two real rows
    np.testing.assert_allclose(gradient[0], [(0.25 - 1) / 2, 0.75 / 2], rtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_large_logits_stay_finite(shift):
    loss = mean_cross_entropy(LOGITS + shift, LABELS, jnp.ones(3))
    assert jnp.isfinite(loss)


def test_mixed_labels_by_hand():
    mixed = Mixed(jnp.array([1, 1, 0], jnp.int32), jnp.array([0.75, 0.5, 0.5]))
    mask = jnp.array([1.0, 1.0, 0.0])
    first = 0.75 * math.log(4) + 0.25 * math.log(4 / 3)
    second = math.log(4 / 3)  # the same class twice
    loss = mean_cross_entropy(LOGITS, LABELS, mask, 0.0, mixed)
    np.testing.assert_allclose(loss, (first + second) / 2, rtol=1e-6)
    # Both mixed and smoothed: what is wanted of class 0 is 0.8 x 0.75 + 0.1 and 0.1.
    first = 0.7 * math.log(4) + 0.3 * math.log(4 / 3)
    second = 0.1 * math.log(4) + 0.9 * math.log(4 / 3)
    loss = gtn_loss(outputs(jnp.zeros((3, 2))), LABELS, mask, 0.5, 0.2, mixed)
    np.testing.assert_allclose(loss.total, (first + second) / 2 + 0.5 * math.log(2), rtol=1e-6)
    np.testing.assert_allclose(loss.classifier, (first + second) / 2, rtol=1e-6)


def test_label_smoothing_by_hand_and_by_optax():
    # Wanted: 0.9 and 0.1 of N = 2 with s = 0.2; -log of 1/4 and 3/4.
    mask = jnp.array([1.0, 1.0, 0.0])
    first = 0.9 * math.log(4) + 0.1 * math.log(4 / 3)
    second = 0.1 * math.log(4) + 0.9 * math.log(4 / 3)
    loss = mean_cross_entropy(LOGITS, LABELS, mask, 0.2)
    np.testing.assert_allclose(loss, (first + second) / 2, rtol=1e-6)
    smooth = optax.smooth_labels(jax.nn.one_hot(LABELS, 2), 0.2)
    expected = optax.softmax_cross_entropy(LOGITS, smooth)[:2].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    # Both terms: logits of the auxiliary classifier that are equal cost log 2 in any case.
    both = gtn_loss(outputs(jnp.zeros((3, 2))), LABELS, mask, 0.5, 0.2)
    np.testing.assert_allclose(both.total, loss + 0.5 * math.log(2), rtol=1e-6)

"""Losses and sums by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.arrays import Batch, Outputs
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


def loss_of(aux_logits, mask, aux_weight, targets=None):
    batch = Batch(jnp.zeros(3), LABELS, mask, targets=targets)
    return gtn_loss(aux_weight)({}, outputs(aux_logits), batch)


def test_auxiliary_term_is_weighted():
    even = jnp.zeros((3, 2))  # probabilities 1/2: log 2 nats each
    mask = jnp.array([1.0, 1.0, 0.0])
    main = (math.log(4) + math.log(4 / 3)) / 2
    np.testing.assert_allclose(loss_of(None, mask, 0.2), [main, main], rtol=1e-6)
    with_aux = loss_of(even, mask, 0.2)
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


def test_soft_targets_by_hand():
    """Of both terms; -log of 1/4 and 3/4."""
    targets = jnp.array([[0.7, 0.3], [0.1, 0.9], [1.0, 0.0]])
    mask = jnp.array([1.0, 1.0, 0.0])
    first = 0.7 * math.log(4) + 0.3 * math.log(4 / 3)
    second = 0.1 * math.log(4) + 0.9 * math.log(4 / 3)
    loss = mean_cross_entropy(LOGITS, LABELS, mask, targets)
    np.testing.assert_allclose(loss, (first + second) / 2, rtol=1e-6)
    # Logits of the auxiliary classifier that are equal cost log 2 in any case.
    both = loss_of(jnp.zeros((3, 2)), mask, 0.5, targets)
    np.testing.assert_allclose(both.total, loss + 0.5 * math.log(2), rtol=1e-6)
    np.testing.assert_allclose(both.classifier, loss, rtol=1e-6)

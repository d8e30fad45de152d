"""MetricTotals and predictions by hand, ties and broken numbers included."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import top_k_accuracy_score

from gtn_jax.training import metrics

# Compiled whole: each operation alone would be a program of its own.
sums, predictions = jax.jit(metrics.sums), jax.jit(metrics.predictions)


def test_counts_by_hand():
    logits = jnp.array([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
    result = sums(logits, jnp.array([1, 2, 0], jnp.int32), jnp.array([1.0, 1.0, 0.0]))
    assert (int(result.correct), int(result.images)) == (1, 2)
    assert int(result.correct_top5) == 2  # with three classes every real row is in the top five


def test_top5_against_scikit_learn():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(200, 12)).astype(np.float32)
    labels = generator.integers(0, 12, 200).astype(np.int32)
    result = sums(jnp.array(logits), jnp.array(labels), jnp.ones(200))
    for count, k in [(result.correct, 1), (result.correct_top5, 5)]:
        expected = top_k_accuracy_score(labels, logits, k=k, normalize=False, labels=range(12))
        assert int(count) == expected


def test_tie_goes_to_the_first_class_as_argmax_does():
    logits = jnp.zeros((2, 3))
    result = sums(logits, jnp.array([0, 1], jnp.int32), jnp.ones(2))
    assert int(result.correct) == 1


def test_ranks_by_hand_in_numpy():
    scores = np.array([[0.2, 0.5, 0.2], [0.2, 0.5, 0.2], [np.nan, 0.0, 0.0]], np.float32)
    ranks = metrics.label_ranks(scores, np.array([0, 2, 0]))
    assert isinstance(ranks, np.ndarray)
    assert ranks[:2].tolist() == [1, 2]
    assert ranks[2] >= 5  # not in the top five of three classes


def test_nan_is_never_correct():
    logits = jnp.full((2, 3), jnp.nan)
    result = sums(logits, jnp.zeros(2, jnp.int32), jnp.ones(2))
    assert (int(result.correct), int(result.correct_top5)) == (0, 0)


def test_answers_by_hand():
    logits = jnp.log(jnp.array([[1.0, 2.0, 1.0], [3.0, 3.0, 2.0]]))
    result = predictions(logits, jnp.array([0, 2], jnp.int32))
    assert result.predicted.tolist() == [1, 0]  # of equal ones the first
    np.testing.assert_allclose(result.predicted_probability, [2 / 4, 3 / 8], rtol=1e-6)
    np.testing.assert_allclose(result.label_probability, [1 / 4, 2 / 8], rtol=1e-6)

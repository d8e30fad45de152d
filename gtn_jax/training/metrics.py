"""Metrics as sums and counts over real rows, so that adding batches up is exact; and answers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gtn_jax.arrays import Array


class MetricTotals(NamedTuple):
    """What one evaluation step adds up; divide by `images` for the means.

    Attributes:
        loss: float32, cross entropy in nats.
        correct: int32, images whose largest logit is their label's.
        correct_top5: int32, images whose label is among the five largest logits.
        images: int32, rows with mask 1.
    """

    loss: jax.Array
    correct: jax.Array
    correct_top5: jax.Array
    images: jax.Array


class Answers(NamedTuple):
    """What a classifier says of each image, enough to see later where it was wrong.

    Attributes:
        predicted: int32 B, the class of the largest logit.
        predicted_probability: float32 B, that class's probability.
        label_probability: float32 B, the label's.
    """

    predicted: Array
    predicted_probability: Array
    label_probability: Array


def answers(logits: jax.Array, labels: Array) -> Answers:
    """The answers to a batch; what they say of rows with mask 0 means nothing.

    Args:
        logits: float32 B N.
        labels: int32 B.
    """
    probabilities = jax.nn.softmax(logits)
    own = jnp.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    predicted = jnp.argmax(logits, axis=1).astype(jnp.int32)
    return Answers(predicted, jnp.max(probabilities, axis=1), own)


def sums(logits: jax.Array, labels: Array, mask: Array) -> MetricTotals:
    """MetricTotals over the rows with mask 1.

    Args:
        logits: float32 B N.
        labels: int32 B.
        mask: float32 B, 0 or 1.
    """
    real = mask.astype(bool)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    ranks = label_ranks(logits, labels)
    return MetricTotals(
        loss=jnp.sum(jnp.where(real, losses, 0.0)),
        correct=jnp.sum(real & (ranks == 0), dtype=jnp.int32),
        correct_top5=jnp.sum(real & (ranks < 5), dtype=jnp.int32),
        images=jnp.sum(real, dtype=jnp.int32),
    )


def label_ranks(scores: Array, labels: Array) -> Array:
    """How many classes come before the label's, int32 B; of equal scores the first, as in argmax.

    A label whose score is not finite comes after all: comparisons with NaN are false, which would
    make it the first.

    Args:
        scores: float32 B N, in NumPy or in JAX.
        labels: int B.
    """
    xp: Any = jnp if isinstance(scores, jax.Array) else np
    own = xp.take_along_axis(scores, labels[:, None], axis=1)
    before = xp.arange(scores.shape[1])[None, :] < labels[:, None]
    ranks = xp.sum((scores > own) | ((scores == own) & before), axis=1, dtype=np.int32)
    return xp.where(xp.isfinite(own[:, 0]), ranks, np.iinfo(np.int32).max)

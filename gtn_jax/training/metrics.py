"""Metrics as sums and counts over real rows, which add up exactly over batches; predictions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from gtn_jax.arrays import Array


class MetricTotals(NamedTuple):
    """Sums over images; divide by `images` for the means.

    Attributes:
        loss: cross entropy in nats, float32.
        correct: images whose largest logit is their label's, int32.
        correct_top5: images whose label is among the five largest logits, int32.
        images: rows with mask 1, int32.
    """

    loss: Float[jax.Array, ""]
    correct: Int[jax.Array, ""]
    correct_top5: Int[jax.Array, ""]
    images: Int[jax.Array, ""]


class Predictions(NamedTuple):
    """Predicted class (int32) of each image, and the probabilities of it and of the label."""

    predicted: Int[Array, " B"]
    predicted_probability: Float[Array, " B"]
    label_probability: Float[Array, " B"]


def predictions(logits: Float[jax.Array, "B N"], labels: Int[Array, " B"]) -> Predictions:
    """Predictions of a batch; those of rows with mask 0 are meaningless."""
    probabilities = jax.nn.softmax(logits)
    own = jnp.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    predicted = jnp.argmax(logits, axis=1).astype(jnp.int32)
    return Predictions(predicted, jnp.max(probabilities, axis=1), own)


def sums(
    logits: Float[Array, "B N"], labels: Int[Array, " B"], mask: Float[Array, " B"]
) -> MetricTotals:
    """Totals over the rows with mask 1."""
    real = mask.astype(bool)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    ranks = label_ranks(logits, labels)
    return MetricTotals(
        loss=jnp.sum(jnp.where(real, losses, 0.0)),
        correct=jnp.sum(real & (ranks == 0), dtype=jnp.int32),
        correct_top5=jnp.sum(real & (ranks < 5), dtype=jnp.int32),
        images=jnp.sum(real, dtype=jnp.int32),
    )


def label_ranks(scores: Float[Array, "B N"], labels: Int[Array, " B"]) -> Int[Array, " B"]:
    """Number of classes ranked above the label, int32; of equal scores the first wins as in argmax.

    NumPy in, NumPy out. A label whose score is not finite ranks last: comparisons with NaN are
    false, which would rank it first.
    """
    xp: Any = jnp if isinstance(scores, jax.Array) else np
    own = xp.take_along_axis(scores, labels[:, None], axis=1)
    before = xp.arange(scores.shape[1])[None, :] < labels[:, None]
    ranks = xp.sum((scores > own) | ((scores == own) & before), axis=1, dtype=np.int32)
    return xp.where(xp.isfinite(own[:, 0]), ranks, np.iinfo(np.int32).max)

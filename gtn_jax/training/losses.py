"""The loss of the paper: cross entropy of the classifier plus a share of the auxiliary one's.

L = CE(logits) + 0.2 CE(aux_logits) in the authors' code (https://github.com/jiaxue-ai/GTN). Weight
decay is not here: the optimizer adds it to the gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gtn_jax.arrays import Array, Batch, Outputs, PooledBatch


class Loss(NamedTuple):
    """Of a batch, in nats; float32 scalars.

    Attributes:
        total: what is minimized.
        classifier: its first term, that of the classifier; evaluation has no other.
    """

    total: jax.Array
    classifier: jax.Array


LossFunction = Callable[[Any, Outputs, Batch | PooledBatch], Loss]
"""(parameters, outputs, batch) -> loss; pure. A penalty is a term of the parameters."""


def mean_cross_entropy(
    logits: jax.Array, labels: Array, mask: Array, targets: Array | None = None
) -> jax.Array:
    """Mean over the rows with mask 1.

    Args:
        logits: float32 B N.
        labels: int32 B.
        mask: float32 B, of which at least one is 1.
        targets: float32 B N, probabilities in the place of `labels`; None: the labels.

    Returns:
        float32 scalar, in nats.
    """
    if targets is None:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    else:
        losses = optax.softmax_cross_entropy(logits, targets)
    return jnp.sum(losses * mask) / jnp.sum(mask)


def gtn_loss(aux_weight: float) -> LossFunction:
    """Build `loss(params, outputs, batch)`: CE(logits) + aux_weight CE(aux_logits).

    Without an auxiliary head, the first term.

    Example:
        >>> loss = gtn_loss(0.2)
        >>> def with_penalty(params, outputs, batch):  # a loss of your own
        ...     found = loss(params, outputs, batch)
        ...     return found._replace(total=found.total + 1e-4 * optax.tree.norm(params))
    """

    def loss(params: Any, outputs: Outputs, batch: Batch | PooledBatch) -> Loss:
        del params
        wanted = batch.labels, batch.mask, batch.targets
        classifier = mean_cross_entropy(outputs.logits, *wanted)
        if outputs.aux_logits is None:
            return Loss(classifier, classifier)
        auxiliary = mean_cross_entropy(outputs.aux_logits, *wanted)
        return Loss(classifier + aux_weight * auxiliary, classifier)

    return loss

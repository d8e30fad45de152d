"""The loss of the paper, CE(logits) + 0.2 CE(aux_logits) in the authors' code.

That code: https://github.com/jiaxue-ai/GTN. The optimizer adds weight decay to the gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from gtn_jax.arrays import Array, Batch, Outputs, PooledBatch


class Loss(NamedTuple):
    """Of a batch, in nats.

    Attributes:
        total: the minimized sum of all terms.
        classifier: the term of the classifier, the only one in evaluation.
    """

    total: Float[jax.Array, ""]
    classifier: Float[jax.Array, ""]


LossFunction = Callable[[Any, Outputs, Batch | PooledBatch], Loss]
"""(parameters, outputs, batch) -> loss; pure. The parameters are for penalties."""


def mean_cross_entropy(
    logits: Float[Array, "B N"],
    labels: Int[Array, " B"],
    mask: Float[Array, " B"],
    targets: Float[Array, "B N"] | None = None,
) -> Float[jax.Array, ""]:
    """Mean in nats over the rows with mask 1, of which there must be one.

    `targets` are probabilities that take the place of `labels`.
    """
    if targets is None:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    else:
        losses = optax.softmax_cross_entropy(logits, targets)
    return jnp.sum(losses * mask) / jnp.sum(mask)


def gtn_loss(aux_weight: float) -> LossFunction:
    """Build CE(logits) + aux_weight CE(aux_logits); without an auxiliary classifier, CE(logits).

    Example:
        >>> loss = gtn_loss(0.2)
        >>> def with_penalty(params, outputs, batch):  # a loss of your own
        ...     value = loss(params, outputs, batch)
        ...     return value._replace(total=value.total + 1e-4 * optax.tree.norm(params))
    """

    def loss(params: Any, outputs: Outputs, batch: Batch | PooledBatch) -> Loss:
        del params
        targets = batch.labels, batch.mask, batch.targets
        classifier = mean_cross_entropy(outputs.logits, *targets)
        if outputs.aux_logits is None:
            return Loss(classifier, classifier)
        auxiliary = mean_cross_entropy(outputs.aux_logits, *targets)
        return Loss(classifier + aux_weight * auxiliary, classifier)

    return loss

"""The loss of the paper: cross entropy of the classifier plus a share of the auxiliary one's.

L = CE(logits) + 0.2 CE(aux_logits) in the authors' code (https://github.com/jiaxue-ai/GTN). Weight
decay is not here: the optimizer adds it to the gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gtn_jax.arrays import Array, Mixed, Outputs


def mean_cross_entropy(
    logits: jax.Array,
    labels: Array,
    mask: Array,
    label_smoothing: float = 0.0,
    mixed: Mixed | None = None,
) -> jax.Array:
    """Mean over the rows with mask 1.

    Args:
        logits: float32 B N.
        labels: int32 B.
        mask: float32 B, of which at least one is 1.
        label_smoothing: s; the wanted probabilities are 1 - s + s/N and s/N (Szegedy et al.,
            "Rethinking the Inception Architecture", arXiv 1512.00567, section 7).
        mixed: other labels that are wanted with the rest of each share; None: `labels` alone.

    Returns:
        float32 scalar, in nats.
    """
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    if mixed is not None:
        others = optax.softmax_cross_entropy_with_integer_labels(logits, mixed.labels)
        losses = mixed.shares * losses + (1 - mixed.shares) * others
    if label_smoothing:
        of_all = -jnp.mean(jax.nn.log_softmax(logits), axis=1)
        losses = (1 - label_smoothing) * losses + label_smoothing * of_all
    return jnp.sum(losses * mask) / jnp.sum(mask)


class Loss(NamedTuple):
    """Of a batch, in nats; float32 scalars.

    Attributes:
        total: what is minimised.
        classifier: its first term, that of the classifier; evaluation has no other.
    """

    total: jax.Array
    classifier: jax.Array


def gtn_loss(
    outputs: Outputs,
    labels: Array,
    mask: Array,
    aux_weight: float,
    label_smoothing: float = 0.0,
    mixed: Mixed | None = None,
) -> Loss:
    """CE(logits) + aux_weight CE(aux_logits); without an auxiliary head, the first term.

    Args:
        outputs: of a GTN.
        labels: int32 B.
        mask: float32 B.
        aux_weight: weight of the auxiliary term.
        label_smoothing: of both terms, see `mean_cross_entropy`.
        mixed: of both terms, too.
    """
    loss = mean_cross_entropy(outputs.logits, labels, mask, label_smoothing, mixed)
    if outputs.aux_logits is None:
        return Loss(loss, loss)
    auxiliary = mean_cross_entropy(outputs.aux_logits, labels, mask, label_smoothing, mixed)
    return Loss(loss + aux_weight * auxiliary, loss)

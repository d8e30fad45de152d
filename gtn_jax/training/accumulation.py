"""Gradient accumulation: the gradient of a batch, from one micro-batch after the other.

Activations need the memory of one micro-batch. The result is the gradient of the whole batch, but
each micro-batch has its own batch statistics and dropout, and updates the running statistics.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Int, Key


class Gradient(NamedTuple):
    """Gradient and metrics of a batch, or the share of a micro-batch in them; shares add up.

    Attributes:
        grads: a tree like the trained parameters.
        loss: the share of the mean over the whole batch.
        correct: number of correctly classified images.
        classifier_loss: as `loss`, of the classifier alone.
    """

    grads: Any
    loss: Float[jax.Array, ""]
    correct: Int[jax.Array, ""]
    classifier_loss: Float[jax.Array, ""]


Differentiate = Callable[[Any, Any, jax.Array, jax.Array], tuple[Gradient, Any]]
"""(micro-batch, running statistics, key, images in the whole batch) -> (share, new statistics)."""


def accumulate(
    differentiate: Differentiate,
    trained: Any,
    batch: Any,
    batch_stats: Any,
    key: Key[jax.Array, ""],
    rows: int | None,
) -> tuple[Gradient, Any]:
    """Compute the gradient of a batch, and the running statistics after it.

    Args:
        differentiate: see `Differentiate`; pure.
        trained: a tree like the gradients.
        batch: a tree of arrays B ... with a `mask`; every micro-batch needs a row with mask 1.
        batch_stats: running statistics before the batch.
        key: if there are several micro-batches, each folds its number in.
        rows: maximum size of a micro-batch; None takes the batch as a whole.
    """
    images = jnp.sum(batch.mask)
    size = len(batch.mask)
    if rows is None or size <= rows:
        return differentiate(batch, batch_stats, key, images)

    def add(carry: tuple[Gradient, Any], part: tuple[Any, jax.Array]) -> tuple[Any, None]:
        total, batch_stats = carry
        micro_batch, number = part
        share, batch_stats = differentiate(
            micro_batch, batch_stats, jax.random.fold_in(key, number), images
        )
        return (jax.tree.map(jnp.add, total, share), batch_stats), None

    zeros = jax.tree.map(jnp.zeros_like, trained)
    zero = jnp.zeros((), jnp.float32)
    carry = (Gradient(zeros, zero, jnp.zeros((), jnp.int32), zero), batch_stats)
    # XLA for CPUs does not optimize convolutions inside loops, which would cost minutes per step
    # (https://github.com/jax-ml/jax/issues/12868). Unrolled, no memory is saved.
    unroll = jax.default_backend() == "cpu"
    for parts in _micro_batches(batch, size, -(-size // rows)):
        carry, _ = lax.scan(add, carry, parts, unroll=unroll)
    return carry


def _micro_batches(batch: Any, size: int, count: int) -> Iterator[tuple[Any, jax.Array]]:
    """At most two stacks of micro-batches of equal size, with their numbers.

    If `count` divides the batch, micro-batch m has the rows m, m + count, m + 2 count, ...: with a
    batch that is sharded in order, each device then already holds its part of every micro-batch.
    Otherwise sizes differ by one, larger ones first.
    """
    small, larger = divmod(size, count)
    first = larger * (small + 1)
    for start, stop, numbers in (
        (0, first, jnp.arange(larger)),
        (first, size, jnp.arange(larger, count)),
    ):
        if start == stop:
            continue

        def stack(array: Any, start: int = start, stop: int = stop, n: int = len(numbers)) -> Any:
            part = jnp.asarray(array)[start:stop]
            return jnp.moveaxis(part.reshape(-1, n, *part.shape[1:]), 1, 0)

        yield jax.tree.map(stack, batch), numbers

"""Gradient accumulation: the gradient of a batch, computed on one micro-batch after the other.

Memory for activations is that of one micro-batch. The result is the gradient of the whole batch,
but for BatchNorm with statistics of the batch: each micro-batch has its own, and running ones move
once a micro-batch. Dropout draws anew for each.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Gradient(NamedTuple):
    """What a training step takes from its batch, or from a part of it; parts add up.

    Attributes:
        grads: of the share of the loss, a tree as the trained parameters.
        loss: float32 scalar, the share of the mean over the whole batch.
        correct: int32 scalar, images whose class is found.
        classifier_loss: float32 scalar, as `loss`, of the classifier alone.
    """

    grads: Any
    loss: jax.Array
    correct: jax.Array
    classifier_loss: jax.Array


Differentiate = Callable[[Any, Any, jax.Array, jax.Array], tuple[Gradient, Any]]
"""Batch, running statistics, key, images of the whole batch -> its share, statistics after it."""


def accumulate(
    differentiate: Differentiate,
    trained: Any,
    batch: Any,
    batch_stats: Any,
    key: jax.Array,
    rows: int | None,
) -> tuple[Gradient, Any]:
    """The gradient of a batch, and the running statistics after it.

    Args:
        differentiate: see `Differentiate`; pure.
        trained: a tree like the gradients.
        batch: a tree of arrays B ... with a float32 `mask`; every micro-batch needs a row of mask
            1.
        batch_stats: running statistics before it.
        key: of everything random in it; with several micro-batches, each folds its number in.
        rows: of a micro-batch at most; None takes the batch as a whole.
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
    # XLA for CPUs optimizes no convolution inside a loop, which would cost minutes a step
    # (https://github.com/jax-ml/jax/issues/12868). Unrolled, it computes parts side by side: the
    # same result, and no memory is saved.
    unroll = jax.default_backend() == "cpu"
    for parts in _micro_batches(batch, size, -(-size // rows)):
        carry, _ = lax.scan(add, carry, parts, unroll=unroll)
    return carry


def _micro_batches(batch: Any, size: int, count: int) -> Iterator[tuple[Any, jax.Array]]:
    """Micro-batches of equal size, stacked, with their numbers; at most two such stacks.

    Where `count` divides the batch, micro-batch m holds the rows m, m + count, m + 2 count, ...:
    of a batch that is split over devices in order, each device then has its part of every
    micro-batch already. Otherwise sizes differ by one, and the larger ones come first.
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

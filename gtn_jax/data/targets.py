"""Transforms of a training batch inside jit: augmentation, label smoothing, mixup."""

from typing import Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Key

from gtn_jax.arrays import Batch, PooledBatch
from gtn_jax.data.augment import Transform

AnyBatch = TypeVar("AnyBatch", Batch, PooledBatch)
_OF_MIXUP = 2
"""Folded into the key; the transforms of augment.py fold in 0 and 1."""


@runtime_checkable
class BatchTransform(Protocol):
    """What a training step does to a batch before its forward pass."""

    def __call__(self, key: Key[jax.Array, ""], batch: AnyBatch) -> AnyBatch:
        """Normalize images, and set `targets` if they are soft; of features, `targets` alone."""
        ...


def batch_transform(
    transform: Transform, num_classes: int = 0, label_smoothing: float = 0.0, mixup: float = 0.0
) -> BatchTransform:
    """Build the transform of a batch.

    Args:
        transform: from `augment.training_transform`.
        num_classes: N; only needed for soft targets.
        label_smoothing: share of uniform probability in the targets.
        mixup: alpha of `mix`; 0 turns it off. Features are not mixed.
    """

    def apply(key: jax.Array, batch: AnyBatch) -> AnyBatch:
        if label_smoothing or mixup:
            one_hot = jax.nn.one_hot(batch.labels, num_classes, dtype=jnp.float32)
            batch = batch._replace(targets=one_hot)
        if isinstance(batch, Batch):
            images = transform(key, batch.images, batch.sizes)
            batch = batch._replace(images=images, sizes=None)
            if mixup:
                batch = mix(jax.random.fold_in(key, _OF_MIXUP), batch, mixup)
        if label_smoothing:
            targets = optax.smooth_labels(jnp.asarray(batch.targets), label_smoothing)
            batch = batch._replace(targets=targets)
        return batch

    return apply


def mix(key: Key[jax.Array, ""], batch: Batch, alpha: float) -> Batch:
    """Mix each image and its targets with the row before.

    s x + (1 - s) x' and s y + (1 - s) y' with s from Beta(alpha, alpha), drawn per image: section 2
    of Zhang et al., "mixup: Beyond Empirical Risk Minimization" (arXiv 1710.09412). The image keeps
    the larger share, so `labels` stay those of the main image; over pairs in both orders the
    mixtures have the same distribution. Padding is not mixed in.

    Args:
        key: the same key gives the same shares on any number of devices.
        batch: with normalized images, and `targets`.
        alpha: above 0; near 0 hardly mixes, 1 makes all shares equally likely.
    """
    share = jax.random.beta(key, alpha, alpha, (len(batch.mask),), jnp.float32)
    before = jax.tree.map(lambda array: jnp.roll(array, 1, axis=0), batch)
    is_real = jnp.asarray(batch.mask) * before.mask > 0
    share = jnp.where(is_real, jnp.maximum(share, 1 - share), 1.0)

    def mixed(own: jax.Array, other: jax.Array) -> jax.Array:
        of_rows = share.reshape(-1, *[1] * (own.ndim - 1))
        return of_rows * own + (1 - of_rows) * other

    targets = mixed(jnp.asarray(batch.targets), jnp.asarray(before.targets))
    return batch._replace(images=mixed(jnp.asarray(batch.images), before.images), targets=targets)

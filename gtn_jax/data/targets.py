"""Which probabilities training asks for: labels, smoothed labels, or those of mixed images.

`batch_transform` puts augmentation of images and targets together; it runs inside jit.
"""

from typing import Protocol, TypeVar

import jax
import jax.numpy as jnp
import optax

from gtn_jax.arrays import Batch, PooledBatch
from gtn_jax.data.augment import Transform

AnyBatch = TypeVar("AnyBatch", Batch, PooledBatch)
_OF_MIXUP = 2
"""Its number beside those that transforms of augment.py fold into the key of a step's images."""


class BatchTransform(Protocol):
    """What a training step does to a batch before its forward pass."""

    def __call__(self, key: jax.Array, batch: AnyBatch) -> AnyBatch:
        """The batch with images as the model takes them, and with targets if they are not one-hot.

        Of a batch of features, the targets alone.
        """
        ...


def batch_transform(
    transform: Transform, num_classes: int = 0, label_smoothing: float = 0.0, mixup: float = 0.0
) -> BatchTransform:
    """Augment the images of a batch, and soften its labels.

    Args:
        transform: from `augment.training_transform`.
        num_classes: N; needed for soft targets only.
        label_smoothing: see `smooth`; 0: none.
        mixup: alpha of `mix`; 0: none. Features are not mixed.
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


def mix(key: jax.Array, batch: Batch, alpha: float) -> Batch:
    """Each image and its targets with those before it, which are as good as any others.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization" (arXiv 1710.09412), section 2:
    s x + (1 - s) x' and s y + (1 - s) y' with s from Beta(alpha, alpha), for each image.
    The larger share is the image's own, so that `labels` still says what is mostly to be seen: over
    pairs in both orders the mixtures are the same. What only fills a batch is not mixed in.

    Args:
        key: the same key gives the same shares on any number of devices.
        batch: images float32 B H W C, augmented and normalized; targets float32 B N.
        alpha: above 0; small values leave most images almost as they are, 1 takes all shares alike.
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

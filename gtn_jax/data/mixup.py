"""Mixup: every image of a batch is mixed with another one, and so are their labels.

Zhang et al., "mixup: Beyond Empirical Risk Minimization" (arXiv 1710.09412), section 2: with a
share s from Beta(alpha, alpha), s x + (1 - s) x' is wanted to be y with s and y' with 1 - s. A
share for each image; the loss is losses.py's. Runs inside jit.
"""

import jax
import jax.numpy as jnp

from gtn_jax.arrays import Batch, Mixed


def mix(key: jax.Array, batch: Batch, alpha: float) -> Batch:
    """Each image with the one before it; batches have no order, so that one is as good as any.

    The larger share is the image's own, so that `labels` still says what is mostly to be seen: over
    pairs in both orders the mixtures are the same. What only fills a batch is not mixed in.

    Args:
        key: the same key gives the same shares on any number of devices.
        batch: its images float32 B H W C, augmented and normalised.
        alpha: above 0; small values leave most images almost as they are, 1 takes all shares alike.
    """
    share = jax.random.beta(key, alpha, alpha, (len(batch.mask),), jnp.float32)
    before = jax.tree.map(lambda array: jnp.roll(array, 1, axis=0), batch)
    is_real = jnp.asarray(batch.mask) * before.mask > 0
    share = jnp.where(is_real, jnp.maximum(share, 1 - share), 1.0)
    of_images = share[:, None, None, None]
    images = of_images * batch.images + (1 - of_images) * before.images
    return batch._replace(images=images, mixed=Mixed(before.labels, share))

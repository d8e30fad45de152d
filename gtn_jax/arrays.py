"""What flows between the parts: `Batch` into a model, `Outputs` out of it.

Letters used for dimensions everywhere: B batch, H height, W width, C channels of an image or a
feature map, K width of the pooled features, N classes. Nothing is computed here.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray
Variables = dict[str, Any]
"""`{"params": ..., "batch_stats": ...}`, nested dicts of arrays, as Flax Linen gives them."""


class Batch(NamedTuple):
    """Images with their labels, as the data pipeline yields them.

    Attributes:
        images: uint8 B H W 3, not yet normalized.
        labels: int32 B, in [0, N).
        mask: float32 B, 1 for a real image, 0 for a row that only fills the batch.
        sizes: int32 B 2, height and width of images that fill only the top left of their H W; None
            where every image fills its own.
        targets: float32 B N, probabilities that training asks for in the place of `labels`; set
            inside a step (data/targets.py). None: the labels.
    """

    images: Array
    labels: Array
    mask: Array
    sizes: Array | None = None
    targets: Array | None = None


class Pooled(NamedTuple):
    """What a backbone makes of images: all that gate and classifiers look at; float32.

    Attributes:
        final: B K, the pooled map of the last stage.
        penultimate: B K', that of the stage before; None without an auxiliary classifier.
    """

    final: jax.Array
    penultimate: jax.Array | None


class PooledBatch(NamedTuple):
    """Pooled features with their labels: what a batch of images is to a backbone that stands still.

    Attributes:
        pooled: of B images.
        labels: int32 B, in [0, N).
        mask: float32 B, as of a `Batch`.
        targets: float32 B N, as of a `Batch`.
    """

    pooled: Pooled
    labels: Array
    mask: Array
    targets: Array | None = None


class Outputs(NamedTuple):
    """What a GTN returns, the same in training and in evaluation; all float32.

    Attributes:
        logits: B N.
        aux_logits: B N, from the stage before the last; None only if built without that head.
        gate: B K, the factor on each pooled feature; ones where there is no gate.
        features: B K, the pooled features *before* the gate.
    """

    logits: jax.Array
    aux_logits: jax.Array | None
    gate: jax.Array
    features: jax.Array

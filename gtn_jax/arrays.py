"""Containers passed between data, models and training: `Batch` into a model, `Outputs` out of it.

Dimensions: B batch, H height, W width, C channels, K pooled features, N classes.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray
Variables = dict[str, Any]
"""`{"params": ..., "batch_stats": ...}`, nested dicts of arrays as in Flax Linen."""


class Batch(NamedTuple):
    """Images with labels, as the data pipeline yields them.

    Attributes:
        images: uint8 B H W 3, not yet normalized.
        labels: int32 B, in [0, N).
        mask: float32 B, 1 for a real image, 0 for padding.
        sizes: int32 B 2, height and width of images that occupy the top left of H W; None where
            every image fills H W.
        targets: float32 B N, target probabilities in place of `labels`; set inside a training step
            (data/targets.py).
    """

    images: Array
    labels: Array
    mask: Array
    sizes: Array | None = None
    targets: Array | None = None


class Pooled(NamedTuple):
    """Pooled features of a backbone, the input of gate and classifiers; float32.

    Attributes:
        final: B K, from the last stage.
        penultimate: B K', from the stage before it; None without an auxiliary classifier.
    """

    final: jax.Array
    penultimate: jax.Array | None


class PooledBatch(NamedTuple):
    """Pooled features with labels: the counterpart of `Batch` for a frozen backbone.

    Attributes:
        pooled: of B images.
        labels: int32 B, in [0, N).
        mask: float32 B, as in `Batch`.
        targets: float32 B N, as in `Batch`.
    """

    pooled: Pooled
    labels: Array
    mask: Array
    targets: Array | None = None


class Outputs(NamedTuple):
    """What a GTN returns, in training and in evaluation; float32.

    Attributes:
        logits: B N.
        aux_logits: B N, from the penultimate stage; None without an auxiliary classifier.
        gate: B K, the factor on each pooled feature; ones without a gate.
        features: B K, the pooled features *before* the gate.
    """

    logits: jax.Array
    aux_logits: jax.Array | None
    gate: jax.Array
    features: jax.Array

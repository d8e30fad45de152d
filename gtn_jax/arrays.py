"""What flows between the rooms: `Batch` into a model, `Outputs` out of it.

Letters used for dimensions everywhere: B batch, H height, W width, C channels of an image or a
feature map, K width of the pooled features, N classes. Nothing is computed here.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray
Variables = dict[str, Any]
"""`{"params": ..., "batch_stats": ...}`, nested dicts of arrays, as Flax Linen gives them."""


class Mixed(NamedTuple):
    """What was mixed into the images of a batch (data/mixup.py).

    Attributes:
        labels: int32 B, of the images that were mixed in.
        shares: float32 B in 0..1, how much of each is left of its own image.
    """

    labels: Array
    shares: Array


class Batch(NamedTuple):
    """Images with their labels, as the data pipeline yields them.

    Attributes:
        images: uint8 B H W 3, not yet normalised.
        labels: int32 B, in [0, N).
        mask: float32 B, 1 for a real image, 0 for a row that only fills the batch.
        sizes: int32 B 2, height and width of images that fill only the top left of their H W; None
            where every image fills its own.
        mixed: inside a step only: what was mixed into the images; None: nothing.
    """

    images: Array
    labels: Array
    mask: Array
    sizes: Array | None = None
    mixed: Mixed | None = None


class ResidentImages(NamedTuple):
    """The images of a split, whole and decoded, in the memory of every device of a mesh.

    Attributes:
        pixels: uint8 B H W 3, padded with zeros to the highest and the widest image.
        sizes: int32 B 2, as of a `Batch`; None where every image fills its H W.
    """

    pixels: jax.Array
    sizes: jax.Array | None


class RowBatch(NamedTuple):
    """Which images make a batch: all that a step needs to be told where they are resident.

    Attributes:
        rows: int32 B, of a `ResidentImages`.
        labels: int32 B, in [0, N).
        mask: float32 B, as of a `Batch`.
    """

    rows: Array
    labels: Array
    mask: Array


class Pooled(NamedTuple):
    """What a trunk makes of images: all that gate and classifiers look at; float32.

    Attributes:
        last: B K, the pooled map of the last stage.
        before_last: B K', that of the stage before; None without an auxiliary classifier.
    """

    last: jax.Array
    before_last: jax.Array | None


class PooledBatch(NamedTuple):
    """Pooled features with their labels: what a batch of images is to a trunk that stands still.

    Attributes:
        pooled: of B images.
        labels: int32 B, in [0, N).
        mask: float32 B, as of a `Batch`.
    """

    pooled: Pooled
    labels: Array
    mask: Array


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

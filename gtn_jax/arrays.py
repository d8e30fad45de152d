"""Arrays passed between modules: `Batch` into a model, `Outputs` out of it.

Dimensions: B batch, H height, W width, C channels of an image or a feature map, K width of the
pooled features (K2 of those of the stage before the last), N classes.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32, Int32, Num

Array = jax.Array | np.ndarray
Variables = dict[str, Any]
"""`{"params": ..., "batch_stats": ...}`, nested dicts of arrays, as Flax Linen returns them."""


class Batch(NamedTuple):
    """Images with labels, as the data pipeline yields them.

    Attributes:
        images: uint8; float32 and normalized after the transform of a step.
        labels: in [0, N).
        mask: 1 for a real image, 0 for a row of padding.
        sizes: height and width of images that fill only the top left of their H W; None where
            every image fills all of it.
        targets: probabilities to train towards instead of `labels`; set inside a step
            (data/targets.py).

    Example:
        Two images and a row of padding:

        >>> import numpy as np
        >>> import gtn_jax
        >>> batch = gtn_jax.Batch(
        ...     images=np.zeros((3, 8, 8, 3), np.uint8),
        ...     labels=np.array([4, 1, 0], np.int32),
        ...     mask=np.array([1, 1, 0], np.float32),
        ... )
        >>> batch.sizes is None and batch.targets is None
        True
    """

    images: Num[Array, "B H W 3"]
    labels: Int32[Array, " B"]
    mask: Float32[Array, " B"]
    sizes: Int32[Array, "B 2"] | None = None
    targets: Float32[Array, "B N"] | None = None


class Pooled(NamedTuple):
    """Pooled feature maps of a backbone: the input of gate and classifiers.

    Attributes:
        final: of the last stage.
        penultimate: of the stage before; None without an auxiliary classifier.
    """

    final: Float[jax.Array, "B K"]
    penultimate: Float[jax.Array, "B K2"] | None


class PooledBatch(NamedTuple):
    """Pooled features of a frozen backbone in the place of images; other fields as in `Batch`."""

    pooled: Pooled
    labels: Int32[Array, " B"]
    mask: Float32[Array, " B"]
    targets: Float32[Array, "B N"] | None = None


class Outputs(NamedTuple):
    """What a GTN returns in training and in evaluation; all float32.

    Attributes:
        logits: of the classifier.
        aux_logits: from the stage before the last; None for a model without that classifier.
        gate: the factor on each pooled feature; ones where there is no gate.
        features: the pooled features before the gate.

    Example:
        >>> import jax.numpy as jnp
        >>> import gtn_jax
        >>> model, variables = gtn_jax.create("resnet8_wide", num_classes=5, stages=2)
        >>> outputs = model.apply(variables, jnp.zeros((2, 8, 8, 3)), train=False)
        >>> {name: value.shape for name, value in outputs._asdict().items()}
        {'logits': (2, 5), 'aux_logits': (2, 5), 'gate': (2, 128), 'features': (2, 128)}
    """

    logits: Float[jax.Array, "B N"]
    aux_logits: Float[jax.Array, "B N"] | None
    gate: Float[jax.Array, "B K"]
    features: Float[jax.Array, "B K"]

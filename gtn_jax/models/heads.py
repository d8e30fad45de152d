"""Classifiers on pooled features: the main one and the auxiliary one of the paper.

Both are linear and, in the paper's code (https://github.com/jiaxue-ai/GTN), without bias. Pooling
is a mean over the whole map, so any image size works (the authors' AvgPool2d(14) needs 224 px).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gtn_jax.models.layers import linear


def pool(feature_map: jax.Array) -> jax.Array:
    """Mean over height and width: B H W C, any float dtype -> float32 B C."""
    return jnp.mean(feature_map.astype(jnp.float32), axis=(1, 2))


class Classifier(nn.Module):
    """Dropout, then a linear layer `fc`.

    Attributes:
        num_classes: N.
        dropout: rate on the input, in training.
        use_bias: whether the linear layer has a bias; the paper's have none.
    """

    num_classes: int
    dropout: float = 0.0
    use_bias: bool = False

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """float32 B K -> float32 B N."""
        features = nn.Dropout(self.dropout, deterministic=not train)(features)
        return linear(self.num_classes, "fc", self.use_bias)(features)

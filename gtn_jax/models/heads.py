"""Pooling and the linear classifiers, main and auxiliary.

Pooling is a mean over the whole map, so any image size works; the authors' AvgPool2d(14)
(https://github.com/jiaxue-ai/GTN) needs 224 pixels.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from gtn_jax.arrays import Array
from gtn_jax.models.layers import linear


def pool(feature_map: Float[Array, "B H W C"]) -> Float[jax.Array, "B C"]:
    """Mean over height and width, in float32 whatever the dtype of the map."""
    return jnp.mean(feature_map.astype(jnp.float32), axis=(1, 2))


class Classifier(nn.Module):
    """Dropout at rate `dropout`, then the linear layer `fc`, in the paper without a bias."""

    num_classes: int
    dropout: float = 0.0
    use_bias: bool = False

    @nn.compact
    def __call__(
        self, features: Float[Array, "B K"], train: bool
    ) -> Float[jax.Array, "B {self.num_classes}"]:
        """Logits in float32; `train` turns dropout on."""
        features = nn.Dropout(self.dropout, deterministic=not train)(features)
        return linear(self.num_classes, "fc", self.use_bias)(features)

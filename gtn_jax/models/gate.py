"""Gates: what stands between the pooled features and the classifier.

`sigmoid` is the transfer module of the paper as its code has it
(https://github.com/jiaxue-ai/GTN, model/GTN.py); the others are its controls and variants.
Every gate maps features B K to (gated features B K, gate B K), in float32. A gate that is not a
factor on the features (`none`, `mlp`) reports ones. More of them: docs/extending.md.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from gtn_jax.errors import unknown_name
from gtn_jax.models.layers import linear, linear_init


class NoGate(nn.Module):
    """Features as they are."""

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """B K -> the same B K, ones B K."""
        return features, jnp.ones_like(features)


class HalfGate(nn.Module):
    """The constant 1/2: what a fresh sigmoid gate does on average, without learning anything."""

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """B K -> halved B K, 0.5 B K."""
        gate = jnp.full_like(features, 0.5)
        return gate * features, gate


class ConstantGate(nn.Module):
    """One learned factor per channel, the same for every image, starting at 1."""

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """B K -> scaled B K, the scale B K."""
        scale = self.param("scale", nn.initializers.ones, features.shape[-1:], jnp.float32)
        gate = jnp.broadcast_to(scale, features.shape)
        return gate * features, gate


class GateMLP(nn.Module):
    """W2 . dropout(relu(W1 . f)), K -> hidden -> K: what gates that look at the image share.

    Attributes:
        reduction: K is divided by it for the hidden width (at least 1).
        dropout: rate on the hidden units.
    """

    reduction: int = 16
    dropout: float = 0.7

    def layers(self, features: jax.Array, train: bool, last_init=linear_init) -> jax.Array:
        """float32 B K -> float32 B K, by `fc1` and `fc2`; W2 starts as `last_init`."""
        width = features.shape[-1]
        hidden = nn.relu(linear(max(1, width // self.reduction), "fc1")(features))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        return linear(width, "fc2", kernel_init=last_init)(hidden)


class SigmoidGate(GateMLP):
    """The paper's gate: sigmoid(W2 . dropout(relu(W1 . f))); it starts near 1/2."""

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """B K -> gated B K, the gate in (0, 1) B K."""
        gate = nn.sigmoid(self.layers(features, train))
        return gate * features, gate


class IdentityGate(GateMLP):
    """2 sigmoid(W2 relu(W1 f)) with W2 = 0 at the start: the identity, free to leave it."""

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """B K -> gated B K, the gate in (0, 2) B K."""
        gate = 2 * nn.sigmoid(self.layers(features, train, nn.initializers.zeros))
        return gate * features, gate


class MlpGate(GateMLP):
    """f + W2 relu(W1 f), W2 = 0 at the start: the gate's parameters without a gate."""

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """B K -> features plus what the two layers add B K, ones B K."""
        z = self.layers(features, train, nn.initializers.zeros)
        return features + z, jnp.ones_like(features)


GATES: dict[str, type[nn.Module]] = {
    "none": NoGate,
    "half": HalfGate,
    "constant": ConstantGate,
    "sigmoid": SigmoidGate,
    "identity": IdentityGate,
    "mlp": MlpGate,
}
"""Name -> module class, called with (features B K, train) as above. Open: entries may be added.
Each class gets those of `build_gate`'s `offered` that it declares as fields."""


def build_gate(kind: str, name: str | None = None, **offered: float | jax.Array) -> nn.Module:
    """The gate called `kind`.

    Args:
        kind: name in `GATES`.
        name: of the module; None where it stands alone.
        **offered: values of fields, for gates that have them; `GateMLP` says what they are.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in GATES:
        raise unknown_name("gate", kind, GATES)
    gate = GATES[kind]
    declared = {field.name for field in dataclasses.fields(gate)}
    return gate(**{field: offered[field] for field in offered.keys() & declared}, name=name)

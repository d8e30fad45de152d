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


def two_layers(
    features: jax.Array, train: bool, reduction: int, dropout: float, last_init=linear_init
) -> jax.Array:
    """W2 . dropout(relu(W1 . f)), K -> K/reduction -> K, no bias, as `fc1` and `fc2` of the caller.

    Args:
        features: float32 B K.
        train: whether to drop hidden units.
        reduction: K is divided by it for the hidden width (at least 1).
        dropout: rate on the hidden units.
        last_init: start of W2.

    Returns:
        float32 B K.
    """
    width = features.shape[-1]
    hidden = nn.relu(linear(max(1, width // reduction), "fc1")(features))
    hidden = nn.Dropout(dropout, deterministic=not train)(hidden)
    return linear(width, "fc2", kernel_init=last_init)(hidden)


class SigmoidGate(nn.Module):
    """The paper's gate: sigmoid(W2 . dropout(relu(W1 . f))); it starts near 1/2.

    Attributes: `reduction` and `dropout` as in `two_layers`.
    """

    reduction: int = 16
    dropout: float = 0.7

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """B K -> gated B K, the gate in (0, 1) B K."""
        gate = nn.sigmoid(two_layers(features, train, self.reduction, self.dropout))
        return gate * features, gate


class IdentityGate(nn.Module):
    """2 sigmoid(W2 relu(W1 f)) with W2 = 0 at the start: the identity, free to leave it.

    Attributes: `reduction` and `dropout` as in `two_layers`.
    """

    reduction: int = 16
    dropout: float = 0.7

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """B K -> gated B K, the gate in (0, 2) B K."""
        z = two_layers(features, train, self.reduction, self.dropout, nn.initializers.zeros)
        gate = 2 * nn.sigmoid(z)
        return gate * features, gate


class MlpGate(nn.Module):
    """f + W2 relu(W1 f), W2 = 0 at the start: the gate's parameters without a gate.

    Attributes: `reduction` and `dropout` as in `two_layers`.
    """

    reduction: int = 16
    dropout: float = 0.7

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """B K -> features plus what the two layers add B K, ones B K."""
        z = two_layers(features, train, self.reduction, self.dropout, nn.initializers.zeros)
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
Each class gets those of `reduction` and `dropout` that it declares as fields."""


def build_gate(kind: str, reduction: int, dropout: float, name: str) -> nn.Module:
    """The gate called `kind`.

    Args:
        kind: name in `GATES`.
        reduction: K / hidden width, for gates that have a field `reduction`.
        dropout: rate on hidden units, for gates that have a field `dropout`.
        name: of the module.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in GATES:
        raise unknown_name("gate", kind, GATES)
    gate = GATES[kind]
    declared = {field.name for field in dataclasses.fields(gate)}
    offered = {"reduction": reduction, "dropout": dropout}
    return gate(**{field: offered[field] for field in offered.keys() & declared}, name=name)

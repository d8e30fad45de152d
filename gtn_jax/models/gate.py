"""Gates between the pooled features and the classifier.

`sigmoid` is the transfer module of the authors' code (https://github.com/jiaxue-ai/GTN,
model/GTN.py); the others are controls and variants. Every gate maps features B K to (gated features
B K, gate B K), in float32. A gate that does not multiply the features (`none`, `mlp`) reports ones.
To add one: docs/extending.md.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from gtn_jax.arrays import Array
from gtn_jax.errors import unknown_name
from gtn_jax.models.layers import linear, linear_init

Features = Float[Array, "B K"]


class NoGate(nn.Module):
    """The identity."""

    @nn.compact
    def __call__(self, features: Features, train: bool) -> tuple[Features, Features]:
        """The features, and ones."""
        return features, jnp.ones_like(features)


class HalfGate(nn.Module):
    """The constant 1/2: the average of an untrained sigmoid gate, with no parameters."""

    @nn.compact
    def __call__(self, features: Features, train: bool) -> tuple[Features, Features]:
        """Half of the features, and 1/2."""
        gate = jnp.full_like(features, 0.5)
        return gate * features, gate


class ConstantGate(nn.Module):
    """One learned factor per channel, the same for every image; it starts at 1."""

    @nn.compact
    def __call__(self, features: Features, train: bool) -> tuple[Features, Features]:
        """Scaled features, and the scale."""
        scale = self.param("scale", nn.initializers.ones, features.shape[-1:], jnp.float32)
        gate = jnp.broadcast_to(scale, features.shape)
        return gate * features, gate


class GateMLP(nn.Module):
    """W2 dropout(relu(W1 f)), with max(1, K // reduction) hidden units: base of the gates below."""

    reduction: int = 16
    dropout: float = 0.7

    def layers(self, features: Features, train: bool, last_init=linear_init) -> Features:
        """Apply `fc1` and `fc2`, whose kernel is initialized by `last_init`."""
        width = features.shape[-1]
        hidden = nn.relu(linear(max(1, width // self.reduction), "fc1")(features))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        return linear(width, "fc2", kernel_init=last_init)(hidden)


class SigmoidGate(GateMLP):
    """The paper's gate: sigmoid(W2 dropout(relu(W1 f))); it starts near 1/2."""

    @nn.compact
    def __call__(self, features: Features, train: bool) -> tuple[Features, Features]:
        """Gated features, and the gate in (0, 1)."""
        gate = nn.sigmoid(self.layers(features, train))
        return gate * features, gate


class IdentityGate(GateMLP):
    """2 sigmoid(W2 dropout(relu(W1 f))) with W2 = 0 at the start, which makes it the identity."""

    @nn.compact
    def __call__(self, features: Features, train: bool) -> tuple[Features, Features]:
        """Gated features, and the gate in (0, 2)."""
        gate = 2 * nn.sigmoid(self.layers(features, train, nn.initializers.zeros))
        return gate * features, gate


class MlpGate(GateMLP):
    """f + W2 dropout(relu(W1 f)) with W2 = 0 at the start: the parameters of a gate, no gate."""

    @nn.compact
    def __call__(self, features: Features, train: bool) -> tuple[Features, Features]:
        """Features plus the output of the two layers, and ones."""
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
"""Name -> module class. Entries may be added."""


def build_gate(kind: str, name: str | None = None, **offered: float | jax.Array) -> nn.Module:
    """Build `GATES[kind]` with those of the fields `offered` that it declares.

    Args:
        kind: name in `GATES`.
        name: of the submodule; None outside of another module.
        **offered: fields, as those of `GateMLP`.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in GATES:
        raise unknown_name("gate", kind, GATES)
    gate = GATES[kind]
    declared = {field.name for field in dataclasses.fields(gate)}
    return gate(**{field: offered[field] for field in offered.keys() & declared}, name=name)

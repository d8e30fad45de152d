"""Comparison of nineteen heads: a search for a gate that improves accuracy.

    gtn compare gate_variants --methods pooled pooled_sigmoid attention ... --workdir runs/variants

Each head is a gate (docs/extending.md) and a method of `gtn compare`, all on the backbone of the
quickstart, which outputs the last feature map by position, and the pooled map of the previous
stage. `pooled`, the control, is the mean over positions: the linear probe with a frozen backbone,
fine-tuning otherwise. `pooled_sigmoid` is the paper's gate. Results are in docs/results.md.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gtn_jax.analysis.methods import METHODS, Method
from gtn_jax.arrays import Array
from gtn_jax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainingConfig
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.models.gate import GATES, ConstantGate, GateMLP, IdentityGate, SigmoidGate
from gtn_jax.models.layers import linear
from gtn_jax.models.resnet import ResNet

LAST, BEFORE = 256, 128
"""Channels of the last two stages, in both backbones below."""


class Positions(ResNet):
    """A ResNet whose last map has all positions in one row, then the previous stage, pooled."""

    @nn.compact
    def __call__(self, images: Array, use_running_average: bool) -> list[jax.Array]:
        """Float images B H W 3 -> maps; the last one B 1 1 (H' W' LAST + BEFORE)."""
        maps = super().__call__(images, use_running_average)
        rows = [maps[-1].reshape(len(images), -1), maps[-2].mean(axis=(1, 2))]
        return [*maps[:-1], jnp.concatenate(rows, axis=1)[:, None, None, :]]


def positions_of(name):
    """The named backbone as `Positions`."""
    shape = BACKBONES[name]
    assert isinstance(shape, ResNetShape)

    def build(stages, dtype, module_name):
        blocks = shape.blocks_per_stage[:stages]
        fields = shape._replace(blocks_per_stage=blocks)._asdict()
        return Positions(**fields, dtype=dtype, name=module_name)

    return build


BACKBONES["resnet8_wide_positions"] = positions_of("resnet8_wide")
BACKBONES["resnet18_positions"] = positions_of("resnet18")


class Variant(GateMLP):
    """Features B K of `Positions` -> gated features and factors, by `head` of a subclass."""

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """B K -> gated B K', factors B K'."""
        positions = features[:, :-BEFORE].reshape(len(features), -1, LAST)
        return self.head(positions, features[:, -BEFORE:], train)

    def two(self, features: jax.Array, train: bool, width: int = LAST) -> jax.Array:
        """W2 dropout(relu(W1 f)) for any width of W2, with W2 initialized to 0."""
        hidden = nn.relu(linear(max(1, LAST // self.reduction), "fc1")(features))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        return linear(width, "fc2", kernel_init=nn.initializers.zeros)(hidden)


def times(factors, features):
    """The return value of every head: gated features and factors."""
    return factors * features, jnp.broadcast_to(factors, features.shape)


def normalize(features):
    """Mean 0, standard deviation 1 over the channels of each image."""
    mean, deviation = features.mean(axis=1, keepdims=True), features.std(axis=1, keepdims=True)
    return (features - mean) / (deviation + 1e-5)


def variant(head):
    """Register `head(gate, positions B P LAST, before B BEFORE, train)` as a gate and a method."""
    name = head.__name__
    GATES[name] = type(name, (Variant,), {"head": head})
    METHODS[name] = Method(head.__doc__, gate=name)
    return head


@variant
def pooled(gate, positions, before, train):
    """Control: the mean over positions, a linear classifier."""
    return times(jnp.ones(()), positions.mean(axis=1))


# Initialization.


@variant
def pooled_sigmoid(gate, positions, before, train):
    """The paper's gate."""
    return SigmoidGate(gate.reduction, gate.dropout, name="own")(positions.mean(axis=1), train)


@variant
def pooled_identity(gate, positions, before, train):
    """A gate that starts at the identity."""
    return IdentityGate(gate.reduction, gate.dropout, name="own")(positions.mean(axis=1), train)


@variant
def pooled_constant(gate, positions, before, train):
    """One learned factor per channel."""
    return ConstantGate(name="own")(positions.mean(axis=1), train)


@variant
def pooled_constant_twice(gate, positions, before, train):
    """Two learned factors per channel, multiplied."""
    once, _ = ConstantGate(name="own")(positions.mean(axis=1), train)
    return ConstantGate(name="again")(once, train)


@variant
def pooled_no_dropout(gate, positions, before, train):
    """The identity gate, without dropout inside it."""
    return IdentityGate(gate.reduction, 0.0, name="own")(positions.mean(axis=1), train)


# Scale and normalization.


@variant
def scaled(gate, positions, before, train):
    """Control: the mean times 4."""
    return times(jnp.full((), 4.0), positions.mean(axis=1))


@variant
def root(gate, positions, before, train):
    """The square root of the mean."""
    features = jnp.sqrt(positions.mean(axis=1) + 1e-6)
    return times(jnp.ones(()), features)


@variant
def normalized(gate, positions, before, train):
    """Control: features normalized over channels."""
    return times(jnp.ones(()), normalize(positions.mean(axis=1)))


@variant
def normalized_identity(gate, positions, before, train):
    """An identity gate on normalized features."""
    features = normalize(positions.mean(axis=1))
    return times(2 * nn.sigmoid(gate.two(features, train)), features)


@variant
def normalized_constant(gate, positions, before, train):
    """One learned factor per channel on normalized features."""
    return ConstantGate(name="own")(normalize(positions.mean(axis=1)), train)


@variant
def seen_normalized(gate, positions, before, train):
    """An identity gate that sees normalized features and gates plain ones."""
    features = positions.mean(axis=1)
    return times(2 * nn.sigmoid(gate.two(normalize(features), train)), features)


# Sparsity.


@variant
def sparse(gate, positions, before, train):
    """Relu(1 + W2 relu(W1 f)): factors can be 0, and are unbounded."""
    features = positions.mean(axis=1)
    return times(nn.relu(1 + gate.two(features, train)), features)


@variant
def softmax(gate, positions, before, train):
    """Channels compete: K softmax(W2 relu(W1 f))."""
    features = positions.mean(axis=1)
    return times(LAST * nn.softmax(gate.two(features, train)), features)


# Several stages.


@variant
def stages(gate, positions, before, train):
    """Control: a linear classifier on the last two stages."""
    return times(jnp.ones(()), jnp.concatenate([positions.mean(axis=1), before], axis=1))


@variant
def stages_identity(gate, positions, before, train):
    """An identity gate on the last two stages."""
    features = jnp.concatenate([positions.mean(axis=1), before], axis=1)
    return times(2 * nn.sigmoid(gate.two(features, train, LAST + BEFORE)), features)


@variant
def stages_seen(gate, positions, before, train):
    """An identity gate that sees the last two stages and gates the last."""
    features = positions.mean(axis=1)
    seen = jnp.concatenate([features, before], axis=1)
    return times(2 * nn.sigmoid(gate.two(seen, train)), features)


# Gates on the last block's map.


@variant
def attention(gate, positions, before, train):
    """A weighted mean over positions, weights softmax(w x)."""
    scores = linear(1, "score", kernel_init=nn.initializers.zeros)(positions)
    features = (nn.softmax(scores, axis=1) * positions).sum(axis=1)
    return times(jnp.ones(()), features)


@variant
def position_identity(gate, positions, before, train):
    """An identity gate at every position, then the mean."""
    factors = 2 * nn.sigmoid(gate.two(positions, train))
    return (factors * positions).mean(axis=1), factors.mean(axis=1)


CONFIG = Config(
    data=DataConfig(
        name="digits",
        image_size=32,
        batch_size=24,
        eval_batch_size=100,
        train_images_per_class=20,
        random_flip=False,
        random_shift_pixels=2,
        feature_cache_views=8,
    ),
    model=ModelConfig(
        backbone="resnet8_wide_positions",
        weights="tiny_imagenet",
        gate="pooled_identity",
        aux_weight=0.0,
    ),
    optimizer=OptimizerConfig(learning_rate=0.05, schedule="cosine"),
    training=TrainingConfig(epochs=40, freeze_epochs=40),
)

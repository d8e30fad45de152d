"""The Flax peer: training an ImageNet ResNet as in Flax's example, reimplemented.

Like https://github.com/google/flax/tree/main/examples/imagenet: plain `nn.Conv` and `nn.BatchNorm`,
Nesterov momentum, weight decay in the loss, float images. No gate, no auxiliary classifier, no
augmentation in the step.
"""

import functools
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training import train_state

from gtn_jax.benchmark.spec import Spec
from gtn_jax.benchmark.workload import Workload, training
from gtn_jax.models.backbones import BACKBONES, ResNetShape

_WEIGHT_DECAY = 1e-4


class Block(nn.Module):
    """A bottleneck, or two 3x3 convolutions; the last BatchNorm's scale is initialized to 0."""

    width: int
    stride: int
    bottleneck: bool
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """B H W C -> B H/stride W/stride C'."""
        conv, norm = self.conv, self.norm
        features = self.width * (4 if self.bottleneck else 1)
        strides = (self.stride, self.stride)
        y = nn.relu(norm()(conv(self.width, (1, 1))(x))) if self.bottleneck else x
        y = nn.relu(norm()(conv(self.width, (3, 3), strides)(y)))
        y = conv(features, (1, 1) if self.bottleneck else (3, 3))(y)
        y = norm(scale_init=nn.initializers.zeros)(y)
        if x.shape != y.shape:
            x = norm(name="norm_proj")(conv(features, (1, 1), strides, name="conv_proj")(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Stem, stages and classifier. All shortcuts are projections, also in CIFAR ResNets."""

    shape: ResNetShape
    classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """B H W 3 -> float32 logits B N."""
        shape = self.shape
        conv = functools.partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = functools.partial(
            nn.BatchNorm, not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype
        )
        if shape.stem == "imagenet":
            x = nn.relu(norm()(conv(shape.width, (7, 7), 2, 3)(x)))
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        else:
            x = nn.relu(norm()(conv(shape.width, (3, 3), shape.stem_stride, 1)(x)))
        for index, count in enumerate(shape.blocks_per_stage):
            for number in range(count):
                width, stride = shape.width * 2**index, 2 if index and not number else 1
                x = Block(width, stride, shape.block == "bottleneck", conv, norm)(x)
        x = jnp.mean(x, axis=(1, 2))
        return nn.Dense(self.classes, dtype=self.dtype)(x).astype(jnp.float32)


class State(train_state.TrainState):
    """Flax's TrainState with running statistics."""

    batch_stats: Any


def train_step(
    state: State, images: jax.Array, labels: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """One step: float images B H W 3, int32 labels B -> new state, loss and accuracy."""

    def loss_of(params: Any) -> Any:
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, changed = state.apply_fn(variables, images, train=True, mutable=["batch_stats"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
        decay = 0.5 * _WEIGHT_DECAY * sum(jnp.sum(kernel**2) for kernel in kernels)
        return losses.mean() + decay, (logits, changed["batch_stats"])

    (loss, (logits, batch_stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    accuracy = jnp.mean((jnp.argmax(logits, -1) == labels).astype(jnp.float32))
    state = state.apply_gradients(grads=grads, batch_stats=batch_stats)
    return state, {"loss": loss, "accuracy": accuracy}


def build(spec: Spec) -> Workload:
    """Training steps on one batch on the device."""
    dtype = jnp.dtype(spec.dtype)
    generator = np.random.default_rng(0)
    shape = (spec.batch_size, spec.image_size, spec.image_size, 3)
    images = jnp.asarray(generator.standard_normal(shape), dtype)
    labels = jnp.asarray(generator.integers(0, spec.classes, spec.batch_size), jnp.int32)
    backbone = BACKBONES[spec.backbone]
    assert isinstance(backbone, ResNetShape), spec.backbone
    model = ResNet(backbone, spec.classes, dtype)
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), images[:1])
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.1, 500, 10_000)
    optimizer = optax.sgd(schedule, momentum=0.9, nesterov=True)
    state = State.create(apply_fn=model.apply, tx=optimizer, **variables)
    # Unlike the example, donate the state as ours does; it saves memory, not time.
    jitted = jax.jit(train_step, donate_argnums=0)
    return training(jitted, state, itertools.repeat((images, labels)), spec.batch_size)

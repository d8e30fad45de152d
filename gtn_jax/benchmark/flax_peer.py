"""The peer from our own ecosystem: ImageNet ResNet-50 training as Flax's example does it.

Written anew in the style of https://github.com/google/flax/tree/main/examples/imagenet: plain
`nn.Conv` and `nn.BatchNorm`, Nesterov momentum, weight decay as a term of the loss, on images that
are floats already. No gate, no auxiliary classifier, no augmentation in the step.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training import train_state

from gtn_jax.benchmark.programs import compile_apart
from gtn_jax.benchmark.spec import Spec
from gtn_jax.benchmark.workload import Workload

WEIGHT_DECAY = 1e-4


class Block(nn.Module):
    """Bottleneck, or two 3x3 convolutions; the last BatchNorm starts at 0, as in the example."""

    width: int
    stride: int
    bottleneck: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """B H W C -> B H/stride W/stride C'."""
        conv = functools.partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
        )
        features = self.width * (4 if self.bottleneck else 1)
        strides = (self.stride, self.stride)
        y = x
        if self.bottleneck:
            y = nn.relu(norm()(conv(self.width, (1, 1))(y)))
        y = nn.relu(norm()(conv(self.width, (3, 3), strides)(y)))
        y = conv(features, (1, 1) if self.bottleneck else (3, 3))(y)
        y = norm(scale_init=nn.initializers.zeros)(y)
        if x.shape != y.shape:
            x = norm(name="norm_proj")(conv(features, (1, 1), strides, name="conv_proj")(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Stem, stages and classifier.

    Attributes:
        blocks: of each stage.
        classes: outputs.
        bottleneck: see `Block`.
        small: 3x3 stem without pooling.
        width: channels of the stem.
        dtype: compute dtype.
    """

    blocks: tuple[int, ...]
    classes: int
    bottleneck: bool = True
    small: bool = False
    width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """B H W 3 -> float32 logits B N."""
        size, strides, padding = ((3, 3), (1, 1), 1) if self.small else ((7, 7), (2, 2), 3)
        x = nn.Conv(self.width, size, strides, padding, use_bias=False, dtype=self.dtype)(x)
        norm = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype)
        x = nn.relu(norm(x))
        if not self.small:
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        for index, count in enumerate(self.blocks):
            for number in range(count):
                stride = 2 if index and not number else 1
                x = Block(self.width * 2**index, stride, self.bottleneck, self.dtype)(x, train)
        x = jnp.mean(x, axis=(1, 2))
        return nn.Dense(self.classes, dtype=self.dtype)(x).astype(jnp.float32)


SHAPES: dict[str, dict[str, Any]] = {
    "resnet18": {"blocks": (2, 2, 2, 2), "bottleneck": False},
    "resnet50": {"blocks": (3, 4, 6, 3)},
    "resnet20": {"blocks": (3, 3, 3), "bottleneck": False, "small": True, "width": 16},
}
"""Backbone -> arguments of `ResNet`; the example's shortcuts project, the CIFAR ResNet's too."""


class State(train_state.TrainState):
    """Flax's own, with the moving statistics beside it."""

    batch_stats: Any


def create_train_state(spec: Spec) -> State:
    """Model and optimizer at step 0.

    Raises:
        ValueError: a backbone that the example has no shape for.
    """
    if spec.backbone not in SHAPES:
        raise ValueError(f"the Flax example has no {spec.backbone}")
    model = ResNet(classes=spec.classes, dtype=jnp.dtype(spec.dtype), **SHAPES[spec.backbone])
    images = jnp.zeros((1, 64, 64, 3), jnp.float32)
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), images)
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.1, 500, 10_000)
    return State.create(
        apply_fn=model.apply,
        params=variables["params"],
        tx=optax.sgd(schedule, momentum=0.9, nesterov=True),
        batch_stats=variables["batch_stats"],
    )


def train_step(
    state: State, images: jax.Array, labels: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """One step: float images B H W 3, int32 labels B -> new state, loss and accuracy."""

    def loss_of(params: Any) -> Any:
        logits, changed = state.apply_fn(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            train=True,
            mutable=["batch_stats"],
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
        decay = 0.5 * WEIGHT_DECAY * sum(jnp.sum(kernel**2) for kernel in kernels)
        return losses.mean() + decay, (logits, changed["batch_stats"])

    (loss, (logits, batch_stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    accuracy = jnp.mean((jnp.argmax(logits, -1) == labels).astype(jnp.float32))
    state = state.apply_gradients(grads=grads, batch_stats=batch_stats)
    return state, {"loss": loss, "accuracy": accuracy}


def build(spec: Spec) -> Workload:
    """Training steps of the example on one batch that stays on the device."""
    state = create_train_state(spec)
    generator = np.random.default_rng(0)
    shape = (spec.batch_size, spec.image_size, spec.image_size, 3)
    images = jnp.asarray(generator.standard_normal(shape), jnp.dtype(spec.dtype))
    labels = jnp.asarray(generator.integers(0, spec.classes, spec.batch_size), jnp.int32)
    # The example donates nothing; donation saves memory, not time, and a peer gets our best.
    jitted = jax.jit(train_step, donate_argnums=0)
    compiled, facts = compile_apart(jitted, state, images, labels)

    def repeat(iterations: int) -> None:
        nonlocal state
        metrics = None
        for _ in range(iterations):
            state, metrics = compiled(state, images, labels)
        jax.block_until_ready((state, metrics))

    return Workload(repeat, spec.batch_size, facts=facts)

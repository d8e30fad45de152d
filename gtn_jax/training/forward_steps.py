"""Steps that change no state: features, metrics and probabilities of a batch. Not jitted."""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp

from gtn_jax.arrays import Array, Batch, Outputs, Pooled, Variables
from gtn_jax.data.augment import Transform, one_by_one
from gtn_jax.models.gtn import GTN, gate_of
from gtn_jax.training.metrics import Answers, MetricTotals, answers, sums

PoolingStep = Callable[[Variables, Batch, jax.Array, Array], Pooled]
GatedStep = Callable[[Variables, Batch, Array], tuple[jax.Array, jax.Array | None]]
Forward = Callable[..., Outputs]
"""(variables, uint8 images B H W 3, sizes or None) -> outputs."""
EvaluationStep = Callable[[Variables, Batch], tuple[MetricTotals, Answers]]
ProbabilitiesStep = Callable[[Variables, Batch], jax.Array]


def make_pooling_step(model: GTN, transform: Transform) -> PoolingStep:
    """Build `pooling_step(variables, batch, key, rows) -> Pooled`, the features of a frozen
    backbone.

    Args:
        model: only its backbone is used, with running statistics.
        transform: from `augment.training_transform`; image i (of int32 B `rows`) is augmented with
            the key `fold_in(key, i)`, whichever batch it is in.
    """
    transform_each = one_by_one(transform)

    def pooling_step(variables: Variables, batch: Batch, key: jax.Array, rows: Array) -> Pooled:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(rows))
        images = transform_each(keys, batch.images, batch.sizes)
        return cast(Pooled, model.apply(variables, images, True, method=GTN.pooled))

    return pooling_step


def make_gated_step(model: GTN, transform: Transform) -> GatedStep:
    """Build `gated_step(variables, batch, mirror) -> (B K, B K')`, the inputs of the classifiers.

    `mirror`, a bool scalar, flips the images. The second result is of the penultimate stage, None
    without an auxiliary classifier.

    Args:
        model: in evaluation mode; its classifiers are not used.
        transform: from `augment.evaluation_transform`.
    """

    def gated_step(
        variables: Variables, batch: Batch, mirror: Array
    ) -> tuple[jax.Array, jax.Array | None]:
        images = transform(jax.random.key(0), batch.images, batch.sizes)
        images = jnp.where(mirror, images[:, :, ::-1], images)
        pooled = cast(Pooled, model.apply(variables, images, True, method=GTN.pooled))
        gate = {"params": variables["params"].get("gate", {})}
        gated, _ = cast(tuple, gate_of(model).apply(gate, pooled.final, False))
        return gated, pooled.penultimate

    return gated_step


def make_forward(model: GTN, transform: Transform, mirror: bool = False) -> Forward:
    """Build the evaluation `forward(variables, images, sizes=None) -> Outputs`.

    No dropout, and running BatchNorm statistics. Evaluation, prediction, export and explanation of
    a run all use this function.

    Args:
        transform: from `augment.evaluation_transform`.
        mirror: return logits of the mean probabilities of each image and its mirror image; gate and
            features are those of the image.
    """

    def forward(variables: Variables, images: Array, sizes: Array | None = None) -> Outputs:
        inputs = transform(jax.random.key(0), images, sizes)
        if not mirror:
            return cast(Outputs, model.apply(variables, inputs, train=False))
        # Interleaved, so that the images stay on their devices.
        inputs = jnp.stack([inputs, inputs[:, :, ::-1]], axis=1).reshape(-1, *inputs.shape[1:])
        both = cast(Outputs, model.apply(variables, inputs, train=False))
        log_probabilities = jax.nn.log_softmax(both.logits).reshape(-1, 2, both.logits.shape[1])
        logits = jax.nn.logsumexp(log_probabilities, axis=1) - jnp.log(jnp.float32(2))
        return jax.tree.map(lambda rows: rows[::2], both)._replace(logits=logits)

    return forward


def make_evaluation_step(forward: Forward) -> EvaluationStep:
    """Build `evaluation_step(variables, batch) -> (MetricTotals, Answers)`; answers to padding are
    meaningless."""

    def evaluation_step(variables: Variables, batch: Batch) -> tuple[MetricTotals, Answers]:
        logits = forward(variables, batch.images, batch.sizes).logits
        return sums(logits, batch.labels, batch.mask), answers(logits, jnp.asarray(batch.labels))

    return evaluation_step


def make_probabilities_step(forward: Forward) -> ProbabilitiesStep:
    """Build `probabilities_step(variables, batch) -> float32 B N`, whose rows sum to 1."""

    def probabilities_step(variables: Variables, batch: Batch) -> jax.Array:
        return jax.nn.softmax(forward(variables, batch.images, batch.sizes).logits)

    return probabilities_step

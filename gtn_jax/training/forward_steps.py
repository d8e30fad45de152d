"""Steps that change no state: features, sums and probabilities of a batch. Jit them yourself.

What trains is steps.py's; exact passes over a split are evaluate.py's.
"""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp

from gtn_jax.arrays import Array, Batch, Outputs, Pooled, Variables
from gtn_jax.data.augment import Transform, one_by_one
from gtn_jax.models.gtn import GTN, gate_of
from gtn_jax.training.metrics import Answers, Sums, answers, sums

PoolingStep = Callable[[Variables, Batch, jax.Array, Array], Pooled]
GatedStep = Callable[[Variables, Batch, Array], tuple[jax.Array, jax.Array | None]]
EvaluationStep = Callable[[Variables, Batch], tuple[Sums, Answers]]
ProbabilitiesStep = Callable[[Variables, Batch], jax.Array]


def make_pooling_step(model: GTN, transform: Transform) -> PoolingStep:
    """Build `pooling_step(variables, batch, key, rows) -> Pooled`, of a trunk that stands still.

    Args:
        model: a GTN; only its trunk is used, with the running statistics.
        transform: from `augment.training_transform`. Image i, numbered int32 B by `rows`, is
            augmented with the key `fold_in(key, i)`, whatever batch it is in.
    """
    transform_each = one_by_one(transform)

    def pooling_step(variables: Variables, batch: Batch, key: jax.Array, rows: Array) -> Pooled:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(rows))
        images = transform_each(keys, batch.images, batch.sizes)
        return cast(Pooled, model.apply(variables, images, True, method=GTN.pooled))

    return pooling_step


def make_gated_step(model: GTN, transform: Transform) -> GatedStep:
    """Build `gated_step(variables, batch, mirror) -> (B K, B K')`: what the classifiers see.

    Args:
        model: a GTN, as it is in evaluation; its classifiers are not used.
        transform: from `augment.evaluation_transform`.

    Returns:
        A pure function of a bool scalar `mirror`, too: whether to mirror the images. The second
        result is of the stage before the last, None without an auxiliary classifier.
    """

    def gated_step(
        variables: Variables, batch: Batch, mirror: Array
    ) -> tuple[jax.Array, jax.Array | None]:
        images = transform(jax.random.key(0), batch.images, batch.sizes)
        images = jnp.where(mirror, images[:, :, ::-1], images)
        pooled = cast(Pooled, model.apply(variables, images, True, method=GTN.pooled))
        gate = {"params": variables["params"].get("gate", {})}
        gated, _ = cast(tuple, gate_of(model).apply(gate, pooled.last, False))
        return gated, pooled.before_last

    return gated_step


def answer(model: GTN, variables: Variables, images: jax.Array, mirror: bool) -> jax.Array:
    """Logits float32 B N, as evaluation and prediction have them.

    Args:
        model: a GTN; its auxiliary head is not used.
        variables: of it.
        images: float32 B H W 3, normalized.
        mirror: answer with the mean probability of each image and its mirror image.
    """
    views = 1 + mirror
    if mirror:  # side by side, so that each device keeps the images that it has
        images = jnp.stack([images, images[:, :, ::-1]], axis=1).reshape(-1, *images.shape[1:])
    logits = cast(Outputs, model.apply(variables, images, train=False)).logits
    if not mirror:
        return logits
    logs = jax.nn.log_softmax(logits).reshape(-1, views, logits.shape[1])
    return jax.nn.logsumexp(logs, axis=1) - jnp.log(jnp.float32(views))


def make_evaluation_step(model: GTN, transform: Transform, mirror: bool = False) -> EvaluationStep:
    """Build `evaluation_step(variables, batch) -> (Sums, Answers)`.

    There is no dropout, BatchNorm has the running statistics, and answers to padded rows mean
    nothing.

    Args:
        model: a GTN; its auxiliary head is not used.
        transform: from `augment.evaluation_transform`.
        mirror: see `answer`.
    """

    def evaluation_step(variables: Variables, batch: Batch) -> tuple[Sums, Answers]:
        images = transform(jax.random.key(0), batch.images, batch.sizes)
        logits = answer(model, variables, images, mirror)
        return sums(logits, batch.labels, batch.mask), answers(logits, jnp.asarray(batch.labels))

    return evaluation_step


def make_probabilities_step(
    model: GTN, transform: Transform, mirror: bool = False
) -> ProbabilitiesStep:
    """Build `probabilities_step(variables, batch) -> float32 B N`, rows that add up to 1.

    As `make_evaluation_step`, but what it returns of padded rows means nothing.

    Args:
        model: a GTN; its auxiliary head is not used.
        transform: from `augment.evaluation_transform`.
        mirror: see `answer`.
    """

    def probabilities_step(variables: Variables, batch: Batch) -> jax.Array:
        images = transform(jax.random.key(0), batch.images, batch.sizes)
        return jax.nn.softmax(answer(model, variables, images, mirror))

    return probabilities_step

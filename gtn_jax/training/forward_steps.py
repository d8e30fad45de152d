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
from gtn_jax.training.metrics import Answers, MetricTotals, answers, sums

PoolingStep = Callable[[Variables, Batch, jax.Array, Array], Pooled]
GatedStep = Callable[[Variables, Batch, Array], tuple[jax.Array, jax.Array | None]]
Forward = Callable[..., Outputs]
"""(variables, uint8 images B H W 3, sizes or None) -> outputs."""
EvaluationStep = Callable[[Variables, Batch], tuple[MetricTotals, Answers]]
ProbabilitiesStep = Callable[[Variables, Batch], jax.Array]


def make_pooling_step(model: GTN, transform: Transform) -> PoolingStep:
    """Build `pooling_step(variables, batch, key, rows) -> Pooled`, of a backbone that stands still.

    Args:
        model: a GTN; only its backbone is used, with the running statistics.
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
        gated, _ = cast(tuple, gate_of(model).apply(gate, pooled.final, False))
        return gated, pooled.penultimate

    return gated_step


def make_forward(model: GTN, transform: Transform, mirror: bool = False) -> Forward:
    """Build `forward(variables, images, sizes=None) -> Outputs` of evaluation: pure, to be jitted.

    There is no dropout, and BatchNorm has the running statistics. What evaluates, predicts, exports
    and explains a run is this function.

    Args:
        model: a GTN.
        transform: from `augment.evaluation_transform`.
        mirror: logits of the mean probability of each image and its mirror image; gate and features
            are those of the image.
    """

    def forward(variables: Variables, images: Array, sizes: Array | None = None) -> Outputs:
        seen = transform(jax.random.key(0), images, sizes)
        if not mirror:
            return cast(Outputs, model.apply(variables, seen, train=False))
        # Side by side, so that each device keeps the images that it has.
        seen = jnp.stack([seen, seen[:, :, ::-1]], axis=1).reshape(-1, *seen.shape[1:])
        both = cast(Outputs, model.apply(variables, seen, train=False))
        logs = jax.nn.log_softmax(both.logits).reshape(-1, 2, both.logits.shape[1])
        logits = jax.nn.logsumexp(logs, axis=1) - jnp.log(jnp.float32(2))
        return jax.tree.map(lambda rows: rows[::2], both)._replace(logits=logits)

    return forward


def make_evaluation_step(forward: Forward) -> EvaluationStep:
    """Build `evaluation_step(variables, batch) -> (MetricTotals, Answers)`; answers to padded rows
    mean nothing.

    Args:
        forward: from `make_forward`.
    """

    def evaluation_step(variables: Variables, batch: Batch) -> tuple[MetricTotals, Answers]:
        logits = forward(variables, batch.images, batch.sizes).logits
        return sums(logits, batch.labels, batch.mask), answers(logits, jnp.asarray(batch.labels))

    return evaluation_step


def make_probabilities_step(forward: Forward) -> ProbabilitiesStep:
    """Build `probabilities_step(variables, batch) -> float32 B N`, rows that add up to 1.

    Args:
        forward: from `make_forward`.
    """

    def probabilities_step(variables: Variables, batch: Batch) -> jax.Array:
        return jax.nn.softmax(forward(variables, batch.images, batch.sizes).logits)

    return probabilities_step

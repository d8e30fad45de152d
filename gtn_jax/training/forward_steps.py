"""Pure steps that change no state: features, metric totals and probabilities of a batch."""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Key, Num

from gtn_jax.arrays import Array, Batch, Outputs, Pooled, Variables
from gtn_jax.data.augment import Transform, one_by_one
from gtn_jax.models.gtn import GTN, gate_of
from gtn_jax.training.metrics import MetricTotals, Predictions, predictions, sums

PoolingStep = Callable[[Variables, Batch, jax.Array, Array], Pooled]
GatedStep = Callable[[Variables, Batch, Array], tuple[jax.Array, jax.Array | None]]
Forward = Callable[..., Outputs]
"""(variables, images, sizes or None) -> outputs; images and sizes as in `Batch`."""
EvaluationStep = Callable[[Variables, Batch], tuple[MetricTotals, Predictions]]
ProbabilitiesStep = Callable[[Variables, Batch], jax.Array]


def make_pooling_step(model: GTN, transform: Transform) -> PoolingStep:
    """Build `pooling_step(variables, batch, key, rows) -> Pooled` of a frozen backbone.

    Args:
        model: only its backbone is used, with the running statistics.
        transform: from `augment.training_transform`. Image number i, as given by `rows`, is
            augmented with `fold_in(key, i)`, in whatever batch it is.
    """
    transform_each = one_by_one(transform)

    def pooling_step(
        variables: Variables, batch: Batch, key: Key[jax.Array, ""], rows: Int[Array, " B"]
    ) -> Pooled:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(rows))
        images = transform_each(keys, batch.images, batch.sizes)
        return cast(Pooled, model.apply(variables, images, True, method=GTN.pooled))

    return pooling_step


def make_gated_step(model: GTN, transform: Transform) -> GatedStep:
    """Build `gated_step(variables, batch, mirror)`: the inputs of the classifiers in evaluation.

    Args:
        model: its classifiers are not used.
        transform: from `augment.evaluation_transform`.

    Returns:
        A pure function that mirrors the images if `mirror`, and returns the gated features and the
        features of the stage before the last, None without an auxiliary classifier.
    """

    def gated_step(
        variables: Variables, batch: Batch, mirror: Bool[Array, ""]
    ) -> tuple[Float[jax.Array, "B K"], Float[jax.Array, "B K2"] | None]:
        images = transform(jax.random.key(0), batch.images, batch.sizes)
        images = jnp.where(mirror, images[:, :, ::-1], images)
        pooled = cast(Pooled, model.apply(variables, images, True, method=GTN.pooled))
        gate = {"params": variables["params"].get("gate", {})}
        gated, _ = cast(tuple, gate_of(model).apply(gate, pooled.final, False))
        return gated, pooled.penultimate

    return gated_step


def make_forward(model: GTN, transform: Transform, mirror: bool = False) -> Forward:
    """Build `forward(variables, images, sizes=None) -> Outputs`, without dropout, with running
    statistics: the one forward pass of evaluation, prediction, export and reports.

    Args:
        transform: from `augment.evaluation_transform`.
        mirror: average the probabilities of each image and its mirror image; gate and features are
            those of the image.
    """

    def forward(
        variables: Variables,
        images: Num[Array, "B H W 3"],
        sizes: Int[Array, "B 2"] | None = None,
    ) -> Outputs:
        seen = transform(jax.random.key(0), images, sizes)
        if not mirror:
            return cast(Outputs, model.apply(variables, seen, train=False))
        # Interleaved, so that the images stay on their devices.
        seen = jnp.stack([seen, seen[:, :, ::-1]], axis=1).reshape(-1, *seen.shape[1:])
        both = cast(Outputs, model.apply(variables, seen, train=False))
        logs = jax.nn.log_softmax(both.logits).reshape(-1, 2, both.logits.shape[1])
        logits = jax.nn.logsumexp(logs, axis=1) - jnp.log(jnp.float32(2))
        return jax.tree.map(lambda rows: rows[::2], both)._replace(logits=logits)

    return forward


def make_evaluation_step(forward: Forward) -> EvaluationStep:
    """Build `evaluation_step(variables, batch)`, from `make_forward`."""

    def evaluation_step(variables: Variables, batch: Batch) -> tuple[MetricTotals, Predictions]:
        logits = forward(variables, batch.images, batch.sizes).logits
        labels = jnp.asarray(batch.labels)
        return sums(logits, labels, batch.mask), predictions(logits, labels)

    return evaluation_step


def make_probabilities_step(forward: Forward) -> ProbabilitiesStep:
    """Build `probabilities_step(variables, batch)`, from `make_forward`."""

    def probabilities_step(variables: Variables, batch: Batch) -> Float[jax.Array, "B N"]:
        return jax.nn.softmax(forward(variables, batch.images, batch.sizes).logits)

    return probabilities_step

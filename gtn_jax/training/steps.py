"""The pure training step; setup.py compiles it.

A backbone can be frozen in two ways: with `no_grad` its gradient is never computed, which saves two
thirds of the work; with the authors' `zero_lr` it is computed and fills the momentum while the
learning rate is 0. With pooled features in the batch (feature_cache.py) the backbone is left out.

A step with a non-finite loss or gradient is refused: it changes nothing but the flag `refused`. The
flag is sticky, so the host need not check every step.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gtn_jax.arrays import Batch, Outputs, PooledBatch, Variables
from gtn_jax.data.targets import BatchTransform
from gtn_jax.models.gtn import GTN
from gtn_jax.training.accumulation import Gradient, accumulate
from gtn_jax.training.losses import LossFunction
from gtn_jax.training.metrics import sums
from gtn_jax.training.optimizer import current_rates, matches
from gtn_jax.training.state import TrainState

Metrics = dict[str, jax.Array]
AnyBatch = TypeVar("AnyBatch", Batch, PooledBatch)
TrainStep = Callable[[TrainState, Any], tuple[TrainState, Metrics]]


def make_train_step(
    model: GTN,
    optimizer: optax.GradientTransformationExtraArgs,
    transform: BatchTransform,
    loss: LossFunction,
    *,
    frozen: Sequence[str] = (),
    batch_norm: Literal["batch", "running"] = "batch",
    axis_name: str | None = None,
    micro_batch_size: int | None = None,
) -> TrainStep:
    """Build the pure function `train_step(state, batch) -> (state, metrics)`.

    The batch is a `Batch` of images, or a `PooledBatch` of the features of a frozen backbone.

    Args:
        model: a GTN.
        optimizer: from `build_optimizer`.
        transform: from `targets.batch_transform`; applied once to the whole batch.
        loss: from `gtn_loss`, or any `LossFunction`.
        frozen: regular expressions of whole parameter paths ("backbone/.*") whose gradient is never
            computed; these parameters do not change, nor does the optimizer state of a group that
            is frozen as a whole.
        batch_norm: "batch" normalizes with batch statistics and updates the running statistics;
            "running" normalizes with the running statistics and does not update them.
        axis_name: of a mapped axis as that of `jax.pmap`: gradients, running statistics and metrics
            are averaged over it. None under jit, also over a mesh.
        micro_batch_size: maximum number of rows of a micro-batch (accumulation.py): one update from
            the mean gradient of the batch. None: the batch as a whole.

    Returns:
        A pure function whose metrics are scalars: float32 loss (all terms), classifier_loss,
        accuracy (on `labels`), learning_rate_backbone, learning_rate_head and gradient_norm (of the
        parameters that are not frozen); step (int32) and refused (bool) of the new state.

    Example:
        >>> import gtn_jax
        >>> from gtn_jax.data.augment import evaluation_transform
        >>> from gtn_jax.data.targets import batch_transform
        >>> from gtn_jax.training.losses import gtn_loss
        >>> from gtn_jax.training.optimizer import build_optimizer
        >>> from gtn_jax.training.state import create_state
        >>> model, variables = gtn_jax.create("resnet8_wide", num_classes=3, stages=2)
        >>> optimizer = build_optimizer(0.9, 1e-4, optax.constant_schedule(1.0))
        >>> transform = batch_transform(evaluation_transform((0.5,) * 3, (0.25,) * 3))
        >>> step = jax.jit(make_train_step(model, optimizer, transform, gtn_loss(0.2)))
        >>> state = create_state(variables, optimizer, learning_rate=0.1, seed=0)
        >>> images = jnp.zeros((2, 8, 8, 3), jnp.uint8)
        >>> batch = gtn_jax.Batch(images, jnp.array([0, 2], jnp.int32), jnp.ones(2, jnp.float32))
        >>> state, metrics = step(state, batch)
        >>> print(metrics["step"], metrics["learning_rate_head"], metrics["refused"])
        1 0.1 False
    """

    def step(state: TrainState, batch: AnyBatch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        if axis_name is not None:  # otherwise all devices would draw the same shifts and dropout
            key = jax.random.fold_in(key, lax.axis_index(axis_name))
        # On the whole batch, so that micro-batches do not change the images.
        batch = transform(jax.random.fold_in(key, 0), batch)
        is_frozen = matches(state.params, frozen)
        trained, merge = _split(state.params, is_frozen)

        def loss_of(trained: Any, part: AnyBatch, batch_stats: Any, key: Any, rows: Any) -> Any:
            params = merge(trained)
            variables = {"params": params, "batch_stats": batch_stats}
            outputs, batch_stats = _forward(model, variables, part, key, batch_norm == "running")
            total, classifier = loss(params, outputs, part)
            share = jnp.sum(part.mask) / rows  # 1 where the part is the batch
            return total * share, (classifier * share, outputs, batch_stats)

        def differentiate(part: AnyBatch, *arguments: Any) -> tuple[Gradient, Any]:
            value_and_grad = jax.value_and_grad(loss_of, has_aux=True)
            (total, (classifier, outputs, batch_stats)), grads = value_and_grad(
                trained, part, *arguments
            )
            correct = sums(outputs.logits, part.labels, part.mask).correct
            return Gradient(grads, total, correct, classifier), batch_stats

        found, batch_stats = accumulate(
            differentiate, trained, batch, state.batch_stats, key, micro_batch_size
        )
        if axis_name is not None:
            found = found._replace(grads=lax.pmean(found.grads, axis_name))
            if batch_norm == "batch":
                batch_stats = lax.pmean(batch_stats, axis_name)
        gradient_norm = optax.tree.norm(found.grads)

        params, opt_state = _update(optimizer, state, found.grads, is_frozen)
        metrics = _metrics(found, batch.mask, gradient_norm, opt_state)
        if axis_name is not None:
            metrics = lax.pmean(metrics, axis_name)
        new = state.replace(
            step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state
        )
        is_good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(gradient_norm) & ~state.refused
        new = _select(is_good, new, state).replace(refused=~is_good)
        return new, {**metrics, "step": new.step, "refused": new.refused}

    return step


def _split(params: Any, is_frozen: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The trained leaves, and a function that merges such leaves with the frozen ones."""
    leaves, structure = jax.tree.flatten(params)
    flags = jax.tree.leaves(is_frozen)

    def merge(trained: list[Any]) -> Any:
        rest = iter(trained)
        return structure.unflatten(
            [leaf if frozen else next(rest) for leaf, frozen in zip(leaves, flags, strict=True)]
        )

    return [leaf for leaf, frozen in zip(leaves, flags, strict=True) if not frozen], merge


def _forward(
    model: GTN, variables: Variables, batch: AnyBatch, key: jax.Array, freeze_batch_norm: bool
) -> tuple[Outputs, Any]:
    """Outputs in training, and the running statistics after it."""
    rngs, batch_stats = {"dropout": jax.random.fold_in(key, 1)}, variables["batch_stats"]
    if isinstance(batch, PooledBatch):
        heads = {"params": variables["params"]}
        outputs: Any = model.apply(heads, batch.pooled, True, rngs=rngs, method=GTN.heads)
        return outputs, batch_stats
    outputs, changed = model.apply(
        variables,
        batch.images,
        train=True,
        freeze_batch_norm=freeze_batch_norm,
        mutable=["batch_stats"],
        rngs=rngs,
    )
    return outputs, changed.get("batch_stats", batch_stats)


def _update(
    optimizer: optax.GradientTransformationExtraArgs,
    state: TrainState,
    grads: list[Any],
    is_frozen: Any,
) -> tuple[Any, Any]:
    """Parameters and optimizer state after an update by the gradients of the trained leaves."""
    zeros = jax.tree.map(jnp.zeros_like, state.params)
    updates, opt_state = optimizer.update(
        _split(zeros, is_frozen)[1](grads),
        state.opt_state,
        state.params,
        step=state.step,
        frozen=is_frozen,
    )
    _, merge = _split(state.params, is_frozen)
    # The frozen leaves stay the same arrays, so that `_select` can skip them.
    return merge(_split(optax.apply_updates(state.params, updates), is_frozen)[0]), opt_state


def _metrics(found: Gradient, mask: Any, gradient_norm: jax.Array, opt_state: Any) -> Metrics:
    rates = current_rates(opt_state)
    return {
        "loss": found.loss,
        "classifier_loss": found.classifier_loss,
        "accuracy": found.correct / jnp.sum(mask > 0, dtype=jnp.int32),
        "gradient_norm": gradient_norm,
        **{f"learning_rate_{group}": rates[group] for group in ("backbone", "head")},
    }


def _select(is_good: jax.Array, new: TrainState, old: TrainState) -> TrainState:
    """`new` if `is_good`, else `old`; XLA fuses the selects into the update."""

    def select(now: Any, then: Any) -> Any:
        return now if now is then else jnp.where(is_good, now, then)

    return jax.tree.map(select, new, old)

"""The pure training step. Jit it yourself, or see loop.py; without an update: forward_steps.py.

Two kinds of frozen trunk exist (research question and cost differ): with `no_grad` its gradient is
never computed, about a third of the work; with the authors' `zero_lr` it is computed and fills the
momentum, while the schedule keeps the rate at 0. A trunk that stands still in every respect can be
left out of the step: its features are given (feature_cache.py).

A step whose loss or gradient is not finite is refused: the state stays as it was, but for its step
s, which becomes -1 - s. It stays so whatever comes, so nobody needs to look after every step.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gtn_jax.arrays import Batch, Outputs, PooledBatch
from gtn_jax.data.augment import Transform
from gtn_jax.data.mixup import mix
from gtn_jax.models.gtn import GTN
from gtn_jax.training.accumulation import Gradient, accumulate
from gtn_jax.training.losses import Loss, gtn_loss
from gtn_jax.training.metrics import sums
from gtn_jax.training.optimizer import STILL, Optimizer, keep_group, moved_average, moved_blend
from gtn_jax.training.state import AveragedTrainState, TrainState

Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
HeadStep = Callable[[TrainState, PooledBatch], tuple[TrainState, Metrics]]
Penalty = Callable[[Any], jax.Array]
"""Parameters -> float32 scalar, pure; what is added to the loss of the paper."""
_Prepare = Callable[[Any, jax.Array], Any]
"""Batch, key -> the batch as `_Forward` takes it."""
_Forward = Callable[[Any, Any, Any, jax.Array], tuple[Outputs, Any]]
"""Parameters, running statistics, batch, key -> outputs, running statistics after it."""
_LossFunction = Callable[[Outputs, Any], Loss]
"""Outputs, batch -> its loss."""


_OF_MIXUP = 2
"""Its number beside those that transforms of augment.py fold into the key of a step's images."""


def make_train_step(
    model: GTN,
    optimizer: Optimizer,
    transform: Transform,
    aux_weight: float,
    backbone_gradient: bool = True,
    freeze_batch_norm: bool = False,
    penalty: Penalty | None = None,
    axis_name: str | None = None,
    micro_batch_size: int | None = None,
    label_smoothing: float = 0.0,
    mixup_alpha: float = 0.0,
) -> TrainStep:
    """Build `train_step(state, batch) -> (state, metrics)`.

    Args:
        model: a GTN.
        optimizer: from `build_optimizer`.
        transform: from `augment.training_transform`.
        aux_weight: weight of the auxiliary loss.
        backbone_gradient: False never computes the trunk's gradient and leaves its parameters and
            momentum as they are.
        freeze_batch_norm: normalise with the running statistics and leave them as they are.
        penalty: added to the loss; called with all parameters, the frozen ones included.
        axis_name: of a mapped axis, e.g. that of `jax.pmap`: every device sees its own rows only,
            and gradients, moving statistics and metrics become their means over the axis. None
            under jit, also over a mesh.
        micro_batch_size: a batch of more rows is taken in parts of at most so many, of sizes that
            differ by at most one: one update from the mean gradient of all its images, with the
            memory of one part (accumulation.py: what BatchNorm then does). None: as a whole.
        label_smoothing: see `losses.mean_cross_entropy`.
        mixup_alpha: see `mixup.mix`; 0 mixes nothing. Accuracy is then that of the larger share.

    Returns:
        A pure function. Its metrics are float32 scalars: loss (with the auxiliary term and the
        penalty), classifier_loss (without them), accuracy, learning_rate_backbone and
        learning_rate_head, gradient_norm (of what was computed); and step, int32, that of the new
        state: negative if this step or one before it was refused.
    """

    def prepare(batch: Batch, key: jax.Array) -> Batch:
        # Whole, so that micro-batches change no image.
        key = jax.random.fold_in(key, 0)
        batch = batch._replace(images=transform(key, batch.images, batch.sizes), sizes=None)
        return mix(jax.random.fold_in(key, _OF_MIXUP), batch, mixup_alpha) if mixup_alpha else batch

    def forward(params: Any, batch_stats: Any, batch: Batch, key: jax.Array) -> Any:
        outputs, changed = model.apply(
            {"params": params, "batch_stats": batch_stats},
            batch.images,
            train=True,
            freeze_batch_norm=freeze_batch_norm,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.fold_in(key, 1)},
        )
        return outputs, changed.get("batch_stats", batch_stats)

    still = () if backbone_gradient else ("backbone",)
    moving = not freeze_batch_norm

    def loss(outputs: Outputs, batch: Batch) -> Loss:
        labels, mask = batch.labels, batch.mask
        return gtn_loss(outputs, labels, mask, aux_weight, label_smoothing, batch.mixed)

    return _make_step(
        prepare, forward, optimizer, loss, still, moving, penalty, axis_name, micro_batch_size
    )


def make_head_step(
    model: GTN,
    optimizer: Optimizer,
    aux_weight: float,
    penalty: Penalty | None = None,
    label_smoothing: float = 0.0,
) -> HeadStep:
    """Build `head_step(state, pooled_batch) -> (state, metrics)`: gate and classifiers only.

    What `make_train_step` builds without the trunk's gradient and with its running statistics, but
    for the trunk's forward pass: on the features of the same images it does the same. There are no
    micro-batches: without a trunk a batch takes next to no memory.

    Args:
        model: a GTN.
        optimizer: from `build_optimizer`.
        aux_weight: weight of the auxiliary loss.
        penalty: see `make_train_step`.
        label_smoothing: see `losses.mean_cross_entropy`.
    """

    def prepare(batch: PooledBatch, key: jax.Array) -> PooledBatch:
        del key
        return batch

    def forward(params: Any, batch_stats: Any, batch: PooledBatch, key: jax.Array) -> Any:
        rngs = {"dropout": jax.random.fold_in(key, 1)}
        outputs = model.apply({"params": params}, batch.pooled, True, rngs=rngs, method=GTN.heads)
        return outputs, batch_stats

    def loss(outputs: Outputs, batch: PooledBatch) -> Loss:
        return gtn_loss(outputs, batch.labels, batch.mask, aux_weight, label_smoothing)

    return _make_step(prepare, forward, optimizer, loss, ("backbone",), False, penalty, None, None)


def _make_step(
    prepare: _Prepare,
    forward: _Forward,
    optimizer: Optimizer,
    loss_function: _LossFunction,
    still: tuple[str, ...],
    moving_statistics: bool,
    penalty: Penalty | None,
    axis_name: str | None,
    micro_batch_size: int | None,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """What every training step does around its forward pass.

    Args:
        prepare: see `_Prepare`; done once, to the whole batch.
        forward: see `_Forward`.
        optimizer: from `build_optimizer`.
        loss_function: see `_LossFunction`.
        still: names of parts, groups of the optimizer, that have no gradient.
        moving_statistics: whether `forward` changes the running statistics.
        penalty: see `make_train_step`.
        axis_name: see `make_train_step`.
        micro_batch_size: see `make_train_step`.
    """

    def mean_over_devices(tree: Any) -> Any:
        return tree if axis_name is None else lax.pmean(tree, axis_name)

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        if axis_name is not None:  # or every device would draw the same shifts and dropout
            key = jax.random.fold_in(key, lax.axis_index(axis_name))
        # A state without a trunk has nothing that stands still: analysis/head_sweep.py.
        frozen = {name: state.params[name] for name in still if name in state.params}
        trained = {name: tree for name, tree in state.params.items() if name not in still}

        def hold(params: Any) -> Any:
            """What is not trained gets no gradient, which then is not computed either."""
            return jax.tree.map(
                lambda leaf, group: lax.stop_gradient(leaf) if group == STILL else leaf,
                params,
                optimizer.labels(params),
            )

        def loss_of(trained: Any, part: Any, batch_stats: Any, key: jax.Array, images: Any) -> Any:
            params = {**frozen, **hold(trained)}
            outputs, batch_stats = forward(params, batch_stats, part, key)
            loss, of_classifier = loss_function(outputs, part)
            if penalty is not None:
                loss = loss + penalty(params)
            share = jnp.sum(part.mask) / images  # 1 where the part is the batch
            return loss * share, (of_classifier * share, outputs.logits, batch_stats)

        def differentiate(part: Any, *arguments: Any) -> tuple[Gradient, Any]:
            value_and_grad = jax.value_and_grad(loss_of, has_aux=True)
            (loss, aside), grads = value_and_grad(trained, part, *arguments)
            of_classifier, logits, batch_stats = aside
            correct = sums(logits, part.labels, part.mask).correct
            return Gradient(grads, loss, correct, of_classifier), batch_stats

        batch = prepare(batch, key)
        found, batch_stats = accumulate(
            differentiate, trained, batch, state.batch_stats, key, micro_batch_size
        )
        grads = mean_over_devices(found.grads)
        if moving_statistics:
            batch_stats = mean_over_devices(batch_stats)
        gradient_norm = optax.tree.norm(grads)

        grads = {**jax.tree.map(jnp.zeros_like, frozen), **grads}
        directions, opt_state = optimizer.direction.update(grads, state.opt_state, state.params)
        for group in still:
            opt_state = keep_group(opt_state, state.opt_state, group)
        number = state.step.astype(jnp.float32)  # optax's cosine divides it
        peaks, schedules = state.learning_rates, optimizer.schedules.items()
        rates = {group: peaks.get(group, 0.0) * rate(number) for group, rate in schedules}
        updates = jax.tree.map(
            lambda direction, group: -rates[group] * direction,
            directions,
            optimizer.labels(state.params),
        )
        params = {**cast(dict, optax.apply_updates(state.params, updates)), **frozen}

        metrics = {
            "loss": found.loss,
            "classifier_loss": found.classifier_loss,
            "accuracy": found.correct / jnp.sum(batch.mask > 0, dtype=jnp.int32),
            "gradient_norm": gradient_norm,
            **{f"learning_rate_{group}": rates[group] for group in ("backbone", "head")},
        }
        metrics = mean_over_devices(metrics)
        is_good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(gradient_norm) & (state.step >= 0)
        new = state.replace(
            step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state
        )
        if isinstance(new, AveragedTrainState):
            moved = {"params": params, "batch_stats": batch_stats}
            if optimizer.ema_decay:
                average = moved_average(new.average, moved, number, optimizer.ema_decay)
            else:
                before = {"params": state.params, "batch_stats": state.batch_stats}
                average = moved_blend(new.average, before, moved, optimizer.start_share)
            new = new.replace(average=average)
        state = _keep_unless(is_good, new, state)
        return state, {**metrics, "step": state.step}

    return step


def _keep_unless(is_good: jax.Array, new: TrainState, old: TrainState) -> TrainState:
    """`new`, or `old` marked as the last good one; the selects become part of the update."""
    refused = jnp.where(old.step < 0, old.step, -1 - old.step)
    fields = {field.name for field in dataclasses.fields(old)}
    moving = sorted(fields - {"step", "learning_rate", "head_learning_rate", "key"})
    chosen = {
        name: jax.tree.map(
            functools.partial(jnp.where, is_good), getattr(new, name), getattr(old, name)
        )
        for name in moving
    }
    return old.replace(step=jnp.where(is_good, new.step, refused), **chosen)

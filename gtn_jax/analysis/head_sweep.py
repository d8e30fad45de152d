"""Training of many heads on cached features: all seeds and learning rates in one program.

With a frozen backbone (`methods.is_frozen`) and cached features, a run trains only gate and
classifiers. All rates of a seed share each batch of features and its dropout mask, so that the
products of a linear head become one large product; seeds are batched as far as caches or memory
allow. Each head gets the initialization, order, views, masks and updates of an ordinary run, as
`make_train_step` makes the step. There are no checkpoints.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from gtn_jax.arrays import Array, Outputs, Pooled, PooledBatch
from gtn_jax.models.gtn import GTN
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.metrics import Predictions, predictions, sums
from gtn_jax.training.optimizer import with_peak_rates
from gtn_jax.training.score import FEW_IMAGES
from gtn_jax.training.state import TrainState
from gtn_jax.training.steps import TrainStep, make_train_step

# Parameters and momentum that fit a CPU's caches; an accelerator needs far larger batches.
_CPU_BYTES, _ACCELERATOR_BYTES = 8 * 2**20, 2**30
_FEATURE_BYTES = 2**30
"""Limit on the features of seeds that are trained together."""


class SeedData(NamedTuple):
    """Data of one seed; the arrays of all seeds of a sweep have the same shapes.

    Attributes:
        heads: initial parameters, without the backbone.
        seed: of dropout.
        views: training features, float32 V B K each.
        labels: int32 B.
        rows: int32 E T B', the rows of each batch of each epoch; epoch e uses view e mod V.
        validation: features float32 B K each, in the evaluation view.
        validation_labels: int32 B.
        test: as validation.
        test_labels: int32 B.
    """

    heads: Any
    seed: Array
    views: Pooled
    labels: Array
    rows: Array
    validation: Pooled
    validation_labels: Array
    test: Pooled
    test_labels: Array


class SweptHeads(NamedTuple):
    """Results of S R heads (seeds, rates); accuracies and loss are of the selected epoch.

    Attributes:
        params: without the backbone, S R ... each.
        selected_epoch: int32 S R, counted from 1.
        validation_accuracy: float32 S R.
        validation_loss: float32 S R, in nats.
        test_accuracy: float32 S R.
        test_predictions: S R B each.
        best_test_accuracy: float32 S R, the highest over all evaluations; biased.
        diverged: bool S R, a loss or gradient was not finite; other fields are then meaningless.
    """

    params: Any
    selected_epoch: jax.Array
    validation_accuracy: jax.Array
    validation_loss: jax.Array
    test_accuracy: jax.Array
    test_predictions: Predictions
    best_test_accuracy: jax.Array
    diverged: jax.Array


Sweep = Callable[[SeedData, Array], SweptHeads]
"""(data of S seeds, stacked; float32 R peak rates) -> heads."""


def make_sweep(
    model: GTN,
    optimizer: optax.GradientTransformationExtraArgs,
    aux_weight: float,
    eval_every_epochs: int = 1,
    select_last: bool = False,
) -> Sweep:
    """Build the jitted function `sweep(data, rates) -> SweptHeads`.

    Args:
        model: a GTN; its backbone is not used.
        optimizer: from `build_optimizer`, with the schedule of the runs.
        aux_weight: of the auxiliary loss.
        eval_every_epochs: must divide the number of epochs.
        select_last: select the last epoch instead of the best `score` (the latest among equals).
    """

    def one(data: SeedData, rates: Array) -> SweptHeads:
        step = make_train_step(
            model, optimizer, lambda key, batch: batch, gtn_loss(aux_weight), batch_norm="running"
        )
        return _train_seed(
            model, optimizer, step, eval_every_epochs, select_last, data, jnp.asarray(rates)
        )

    return jax.jit(jax.vmap(one, in_axes=(0, None)))


def train_heads(
    sweep: Sweep,
    data: Sequence[SeedData],
    learning_rates: Sequence[float],
    bytes_at_once: int | None = None,
) -> SweptHeads:
    """Train a head for each seed's data and each of R peak rates; returns NumPy arrays.

    `bytes_at_once` limits parameters and momentum of the heads trained together (None: 8 MiB on a
    CPU, 1 GiB elsewhere). All rates of a seed are always trained together.

    Raises:
        ValueError: the number of epochs is not divisible by `eval_every_epochs`.
    """
    head_bytes = 8 * sum(leaf.size for leaf in jax.tree.leaves(data[0].heads))
    feature_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves((data[0].views, data[0].test)))
    if bytes_at_once is None:
        is_cpu = jax.default_backend() == "cpu"
        bytes_at_once = _CPU_BYTES if is_cpu else _ACCELERATOR_BYTES
    per_seed = head_bytes * len(learning_rates)
    fitting = min(bytes_at_once // per_seed, _FEATURE_BYTES // feature_bytes)
    at_once = min(len(data), max(1, fitting))
    rates = np.asarray(learning_rates, np.float32)
    parts = []
    for start in range(0, len(data), at_once):
        chunk = list(data[start : start + at_once])
        # The last chunk is padded, as another shape would be compiled again.
        chunk += [chunk[-1]] * (at_once - len(chunk))
        stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *chunk)
        parts.append(jax.device_get(sweep(stacked, rates)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(data)], *parts)


class _Best(NamedTuple):
    params: Any
    epoch: jax.Array
    accuracy: jax.Array
    loss: jax.Array
    test_accuracy: jax.Array


def _train_seed(
    model: GTN,
    optimizer: optax.GradientTransformationExtraArgs,
    step: TrainStep,
    eval_every_epochs: int,
    select_last: bool,
    data: SeedData,
    rates: jax.Array,
) -> SweptHeads:
    """All rates of one seed: the result of `train_heads` without S."""
    epochs, per_epoch, _ = data.rows.shape
    if epochs % eval_every_epochs:
        raise ValueError(
            f"training.eval_every_epochs: {eval_every_epochs} does not divide the {epochs} epochs, "
            "as a sweep of heads needs"
        )
    key = jax.random.key(data.seed)

    def one_step(params: Any, opt_state: Any, number: jax.Array, batch: Any):
        state = TrainState(number, jnp.bool_(False), params, {}, opt_state, key)
        new, _ = step(state, batch)
        return new.params, new.opt_state, new.refused

    # All rates share the step number and batch, and so all random draws.
    step_of_all = jax.vmap(one_step, in_axes=(0, 0, None, None))

    def train(carry: Any, number: jax.Array) -> tuple[Any, None]:
        params, opt_state, refused = carry
        epoch = number // per_epoch
        rows = jnp.asarray(data.rows)[epoch, number % per_epoch]
        view = epoch % data.views.final.shape[0]
        pooled = jax.tree.map(lambda features: features[view, rows], data.views)
        mask = jnp.ones(rows.shape, jnp.float32)
        batch = PooledBatch(pooled, jnp.asarray(data.labels)[rows], mask)
        params, opt_state, bad = step_of_all(params, opt_state, number, batch)
        return (params, opt_state, refused | bad), None

    def logits_of(params: Any, pooled: Pooled) -> jax.Array:
        outputs = model.apply({"params": params}, pooled, False, method=GTN.heads)
        return cast(Outputs, outputs).logits

    def evaluate(params: Any, pooled: Pooled, labels: Array) -> tuple[jax.Array, jax.Array]:
        images = labels.shape[0]
        totals = sums(logits_of(params, pooled), labels, jnp.ones(images, jnp.float32))
        return totals.correct / images, totals.loss / images

    def train_and_evaluate(carry: Any, numbers: jax.Array) -> tuple[Any, None]:
        heads, best, best_test = carry
        heads, _ = lax.scan(train, heads, numbers)
        params = heads[0]
        accuracy, loss = jax.vmap(evaluate, (0, None, None))(
            params, data.validation, data.validation_labels
        )
        test_accuracy, _ = jax.vmap(evaluate, (0, None, None))(params, data.test, data.test_labels)
        epoch = jnp.full(rates.shape, numbers[-1] // per_epoch + 1)
        candidate = _Best(params, epoch, accuracy, loss, test_accuracy)
        # The criterion of training/score.py.
        is_few = data.validation_labels.shape[0] < FEW_IMAGES
        is_as_good = loss <= best.loss if is_few else accuracy >= best.accuracy
        is_better = jnp.isfinite(loss) & is_as_good | select_last
        best = jax.tree.map(
            lambda new, old: jnp.where(is_better.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            candidate,
            best,
        )
        return (heads, best, jnp.maximum(best_test, test_accuracy)), None

    def repeated(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*rates.shape, *leaf.shape)), tree)

    params = repeated(data.heads)
    nothing = jnp.full(rates.shape, -1.0)
    worst, no_epoch = jnp.full(rates.shape, jnp.inf), jnp.zeros(rates.shape, jnp.int32)
    none_yet = _Best(params, no_epoch, nothing, worst, nothing)
    peaks = {"backbone": rates, "head": rates}
    opt_state = with_peak_rates(repeated(optimizer.init(data.heads)), peaks)
    heads = params, opt_state, jnp.zeros(rates.shape, bool)
    numbers = jnp.arange(epochs * per_epoch).reshape(-1, eval_every_epochs * per_epoch)
    (heads, best, best_test), _ = lax.scan(train_and_evaluate, (heads, none_yet, nothing), numbers)
    predict = jax.vmap(lambda params: predictions(logits_of(params, data.test), data.test_labels))
    return SweptHeads(
        best.params,
        best.epoch,
        best.accuracy,
        best.loss,
        best.test_accuracy,
        predict(best.params),
        best_test,
        heads[2],
    )

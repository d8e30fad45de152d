"""SGD with momentum as PyTorch does it, AdamW, and the rates as functions of the step.

Each parameter belongs to one group by name; a group has a schedule. The rate is not part of the
optax transform: a schedule gives the rate relative to the peak, and the step multiplies. So one
compiled step serves all peak rates, and a rate of 0 still lets momentum fill, as in the authors'
code (https://github.com/jiaxue-ai/GTN, main.py, adjust_learning_rate).
"""

import functools
from collections.abc import Callable, Hashable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

GROUPS = {"backbone": "backbone", "gate": "head", "classifier": "head", "aux_classifier": "head"}
"""First part of a parameter's path -> group. Closed: a name not in it is an error."""
STILL = "still"
"""The group of a trunk's parameters that are not trained at all: rate 0, no momentum."""
Trainable = Literal["all", "batch_norm"]


class Optimizer(NamedTuple):
    """What a training step needs to turn gradients into new parameters.

    Attributes:
        direction: gradients -> what the rate multiplies; its state holds one part a group.
        schedules: group -> (step -> rate relative to the group's peak).
        labels: parameters -> a tree like them that holds each leaf's group.
        ema_decay: of the running mean of all variables; 0 keeps none.
        start_share: of the start in the variables that are evaluated; 0 evaluates the current ones.
    """

    direction: optax.GradientTransformation
    schedules: dict[str, optax.Schedule]
    labels: Callable[[Any], Any]
    ema_decay: float = 0.0
    start_share: float = 0.0

    @property
    def averages(self) -> bool:
        """Whether other variables than the current ones are evaluated."""
        return self.ema_decay > 0 or self.start_share > 0


def group_labels(params: Any, trainable: Trainable = "all", frozen_stages: int = 0) -> Any:
    """A tree like `params` that holds each leaf's group.

    Args:
        params: of a GTN, or some of its parts.
        trainable: "batch_norm" trains scales and biases of the trunk's BatchNorms (modules whose
            names begin with bn) and leaves the rest of it `STILL`.
        frozen_stages: the backbone's stem and so many first stages are `STILL`; 0: neither.

    Raises:
        ValueError: a parameter whose name is not in `GROUPS`.
    """
    unknown = sorted(set(params) - set(GROUPS))
    if unknown:
        raise ValueError(f"parameters {', '.join(unknown)} belong to no group of {set(GROUPS)}")

    def group(path: tuple[Any, ...], leaf: Any) -> str:
        del leaf
        names = [entry.key for entry in path]
        found = GROUPS[names[0]]
        if found != "backbone":
            return found
        is_norm = any(name.startswith("bn") for name in names)
        stage = int(names[1].removeprefix("layer")) if names[1].startswith("layer") else 1
        is_still = stage <= frozen_stages or (trainable == "batch_norm" and not is_norm)
        return STILL if is_still else found

    return jax.tree_util.tree_map_with_path(group, params)


def trained_parameters(optimizer: Optimizer, params: Any, is_trunk_frozen: bool) -> int:
    """How many numbers a run changes.

    Args:
        optimizer: of the run.
        params: all of them.
        is_trunk_frozen: from the first epoch to the last.
    """
    still = {STILL, "backbone"} if is_trunk_frozen else {STILL}
    labels = jax.tree.leaves(optimizer.labels(params))
    leaves = zip(jax.tree.leaves(params), labels, strict=True)
    return sum(leaf.size for leaf, label in leaves if label not in still)


def are_kernels(params: Any) -> Any:
    """A tree like `params`: whether each is a matrix or a convolution, and no bias or scale."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def pull_to_start(strength: float) -> optax.GradientTransformation:
    """Add strength (w - w at the start) to the updates; the state holds a copy of the start.

    L2-SP (Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
    arXiv 1802.01483): the gradient of strength / 2 times the squared distance.
    """

    def init(params: Any) -> Any:
        # Copies: a step donates its whole state, and no buffer can be donated twice.
        return jax.tree.map(jnp.copy, params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        pulled = jax.tree.map(lambda g, w, s: g + strength * (w - s), updates, params, state)
        return pulled, state

    return optax.GradientTransformation(init, update)


def build_optimizer(
    momentum: float,
    weight_decay: float,
    schedule: optax.Schedule,
    frozen_steps: int,
    l2_sp: float = 0.0,
    trainable: Trainable = "all",
    ema_decay: float = 0.0,
    name: Literal["sgd", "adamw"] = "sgd",
    decays_all: bool = True,
    frozen_stages: int = 0,
    start_share: float = 0.0,
) -> Optimizer:
    """Two groups: `backbone`, with rate 0 for the first `frozen_steps`, and `head`.

    SGD:   v <- m v + (g + decay w)                         w <- w - rate v
    AdamW: a <- Adam's direction of g (m, 0.999, 1e-8)      w <- w - rate (a + decay w)

    Args:
        momentum: m.
        weight_decay: decay.
        schedule: step -> rate relative to the peaks.
        frozen_steps: see above.
        l2_sp: above 0 the backbone decays towards its start with this strength (`pull_to_start`),
            and not towards 0.
        trainable: see `group_labels`.
        ema_decay: see `Optimizer` and `moved_average`.
        name: SGD (Sutskever et al., ICML 2013) or AdamW (Loshchilov and Hutter, arXiv 1711.05101).
        decays_all: False: kernels decay, biases and BatchNorms do not.
        frozen_stages: see `group_labels`.
        start_share: see `Optimizer` and `moved_blend`.
    """

    def backbone(step: Any) -> jax.Array:
        return jnp.where(step < frozen_steps, 0.0, schedule(step))

    def head(step: Any) -> jax.Array:
        return jnp.asarray(schedule(step))

    def group(decay: optax.GradientTransformation) -> optax.GradientTransformation:
        if not decays_all:
            decay = optax.masked(decay, are_kernels)
        if name == "adamw":
            return optax.chain(_adam(momentum), decay)
        return optax.chain(decay, optax.trace(momentum))

    plain = optax.add_decayed_weights(weight_decay)
    groups: dict[Hashable, optax.GradientTransformation]
    groups = {"backbone": group(pull_to_start(l2_sp) if l2_sp else plain), "head": group(plain)}
    schedules: dict[str, optax.Schedule] = {"backbone": backbone, "head": head}
    if trainable == "batch_norm" or frozen_stages:
        groups[STILL] = optax.set_to_zero()
        schedules[STILL] = optax.constant_schedule(0.0)
    labels = functools.partial(group_labels, trainable=trainable, frozen_stages=frozen_stages)
    direction = optax.partition(groups, labels)
    return Optimizer(direction, schedules, labels, ema_decay, start_share)


def _adam(momentum: float) -> optax.GradientTransformation:
    """Adam's direction, also where JAX promotes strictly: optax takes a float to an int power."""
    adam = optax.scale_by_adam(momentum)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        with jax.numpy_dtype_promotion("standard"):
            return adam.update(updates, state, params)

    return optax.GradientTransformation(adam.init, update)


def moved_average(average: Any, variables: Any, step: jax.Array, decay: float) -> Any:
    """The running mean after one more step: a <- a + (1 - d) (w - a).

    d is the smaller of `decay` and (1 + s) / (10 + s), so that a short run's mean is not its start
    (tf.train.ExponentialMovingAverage has that rule). What does not move stays bit for bit.

    Args:
        average: so far.
        variables: after the step.
        step: s, float32 scalar, steps done before.
        decay: at most.
    """
    share = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, w: a + share * (w - a), average, variables)


def moved_blend(blend: Any, before: Any, after: Any, start_share: float) -> Any:
    """s start + (1 - s) w after one more step, from what it was: b <- b + (1 - s) (w' - w).

    Between two sets of weights that are close, the loss has no barrier, and in the middle the error
    is often lower than at either end (WiSE-FT, arXiv 2109.01903).

    Args:
        blend: b, before the step; at first the start.
        before: w.
        after: w'.
        start_share: s.
    """
    return jax.tree.map(lambda b, w, v: b + (1 - start_share) * (v - w), blend, before, after)


def relative_schedule(
    kind: Literal["step", "cosine", "constant"],
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float,
    boundaries_epochs: tuple[int, ...],
    decay_factor: float,
    warmup_share: float = 0.0,
    full_rate_steps: int = 0,
    steps: int | None = None,
) -> optax.Schedule:
    """step -> rate relative to the peak, in [0, 1].

    Args:
        kind: "step" multiplies by `decay_factor` at each boundary; "cosine" rises linearly for
            `warmup_epochs` and falls to 0 at the end; "constant" is 1.
        steps_per_epoch: turns epochs into steps.
        epochs: of the whole run.
        warmup_epochs: cosine only.
        boundaries_epochs: step only; epochs counted from 0.
        decay_factor: step only.
        warmup_share: of all steps, in the place of `warmup_epochs`.
        full_rate_steps: cosine only; a run of T < full_rate_steps steps rises to
            sqrt(T / full_rate_steps) only.
        steps: of the whole run; None: as many as `epochs` has.
    """
    if kind == "constant":
        return optax.constant_schedule(1.0)
    if kind == "step":
        factors = {epoch * steps_per_epoch: decay_factor for epoch in boundaries_epochs}
        return optax.piecewise_constant_schedule(1.0, factors)
    total = epochs * steps_per_epoch if steps is None else steps
    warmup_steps = round(warmup_epochs * steps_per_epoch or warmup_share * total)
    peak = min(1.0, total / full_rate_steps) ** 0.5 if full_rate_steps else 1.0
    start = 0.0 if warmup_steps else peak
    return optax.warmup_cosine_decay_schedule(
        start, peak, warmup_steps, max(total, warmup_steps + 1)
    )


def keep_group(new_state: Any, old_state: Any, group: str) -> Any:
    """`new_state` of the direction, but with the old momentum of one group."""
    inner = {**new_state.inner_states, group: old_state.inner_states[group]}
    return new_state._replace(inner_states=inner)

"""SGD with momentum as PyTorch does it, and the rate as a function of the step.

Each parameter belongs to one group by name; a group has a schedule. The rate is not part of the
optax transform: a schedule gives the rate relative to the peak, and the step multiplies. So one
compiled step serves every peak rate, and a rate of 0 still lets momentum fill, as in the authors'
code (https://github.com/jiaxue-ai/GTN, main.py, adjust_learning_rate).
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

GROUPS = {"backbone": "backbone", "gate": "head", "classifier": "head", "aux_classifier": "head"}
"""First part of a parameter's path -> group. Closed: a name not in it is an error."""


class Optimizer(NamedTuple):
    """What a training step needs to turn gradients into new parameters.

    Attributes:
        direction: gradients -> momentum; its state holds one part a group.
        schedules: group -> (step -> rate relative to the peak).
    """

    direction: optax.GradientTransformation
    schedules: dict[str, optax.Schedule]


def group_labels(params: Any) -> Any:
    """A tree like `params` that holds each leaf's group.

    Raises:
        ValueError: a parameter whose name is not in `GROUPS`.
    """
    unknown = sorted(set(params) - set(GROUPS))
    if unknown:
        raise ValueError(f"parameters {', '.join(unknown)} belong to no group of {set(GROUPS)}")
    return {name: jax.tree.map(lambda _, n=name: GROUPS[n], tree) for name, tree in params.items()}


def build_optimizer(
    momentum: float,
    weight_decay: float,
    head_lr_multiplier: float,
    schedule: optax.Schedule,
    frozen_steps: int,
) -> Optimizer:
    """SGD over two groups: `backbone`, with rate 0 for the first `frozen_steps`, and `head`.

    Args:
        momentum: m in v <- m v + (g + decay w), w <- w - rate v.
        weight_decay: decay in it, on every parameter.
        head_lr_multiplier: the head's rate over the backbone's.
        schedule: step -> rate relative to the peak.
        frozen_steps: see above.
    """

    def backbone(step: Any) -> jax.Array:
        return jnp.where(step < frozen_steps, 0.0, schedule(step))

    def head(step: Any) -> jax.Array:
        return jnp.asarray(head_lr_multiplier * schedule(step))

    def group() -> optax.GradientTransformation:
        return optax.chain(optax.add_decayed_weights(weight_decay), optax.trace(momentum))

    direction = optax.partition({"backbone": group(), "head": group()}, group_labels)
    return Optimizer(direction, {"backbone": backbone, "head": head})


def relative_schedule(
    kind: Literal["step", "cosine", "constant"],
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float,
    boundaries_epochs: tuple[int, ...],
    decay_factor: float,
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
    """
    if kind == "constant":
        return optax.constant_schedule(1.0)
    if kind == "step":
        factors = {epoch * steps_per_epoch: decay_factor for epoch in boundaries_epochs}
        return optax.piecewise_constant_schedule(1.0, factors)
    warmup_steps = round(warmup_epochs * steps_per_epoch)
    start = 0.0 if warmup_steps else 1.0
    return optax.warmup_cosine_decay_schedule(
        start, 1.0, warmup_steps, max(epochs * steps_per_epoch, warmup_steps + 1)
    )


def keep_group(new_state: Any, old_state: Any, group: str) -> Any:
    """`new_state` of the direction, but with the old momentum of one group."""
    inner = {**new_state.inner_states, group: old_state.inner_states[group]}
    return new_state._replace(inner_states=inner)

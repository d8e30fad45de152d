"""Weights that are evaluated in place of the current ones: a running mean, or part of the start.

Both wrap a training step, which stays as it is: `TrainState.average` holds them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from gtn_jax.training.state import TrainState
from gtn_jax.training.steps import Metrics, TrainStep


def with_average(step: TrainStep, ema_decay: float = 0.0, start_share: float = 0.0) -> TrainStep:
    """A step that moves `average` of its state, too; a refused one leaves it alone.

    Args:
        step: from `make_train_step`.
        ema_decay: see `moved_average`; 0: a blend.
        start_share: see `moved_blend`.
    """

    @functools.wraps(step)
    def averaged(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        new, metrics = step(state, batch)
        before, after = state.current, new.current
        if ema_decay:
            number = state.step.astype(jnp.float32)
            average = moved_average(state.average, after, number, ema_decay)
        else:
            average = moved_blend(state.average, before, after, start_share)
        average = jax.tree.map(
            lambda now, then: jnp.where(new.refused, then, now), average, state.average
        )
        return new.replace(average=average), metrics

    return averaged


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

"""Averaged weights for evaluation: an exponential moving average, or a blend with the start.

Both wrap a training step; `TrainState.average` holds them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gtn_jax.training.state import TrainState
from gtn_jax.training.steps import Metrics, TrainStep


def with_average(step: TrainStep, ema_decay: float = 0.0, start_share: float = 0.0) -> TrainStep:
    """A step that also updates `average` of the state, unless it is refused.

    Args:
        step: from `make_train_step`.
        ema_decay: `decay` of `moved_average`; 0 uses `moved_blend`.
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


def moved_average(average: Any, variables: Any, step: Float[jax.Array, ""], decay: float) -> Any:
    """The moving average after one more step: a <- a + (1 - d) (w - a).

    d = min(decay, (1 + s) / (10 + s)) after s steps, so that the average of a short run is not its
    start (the rule of tf.train.ExponentialMovingAverage). Constant values stay bit for bit.
    """
    share = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, w: a + share * (w - a), average, variables)


def moved_blend(blend: Any, before: Any, after: Any, start_share: float) -> Any:
    """The blend s start + (1 - s) w after one more step: b <- b + (1 - s) (w' - w).

    Weight-space ensembles of the pretrained and the fine-tuned weights: WiSE-FT, arXiv 2109.01903.

    Args:
        blend: b; the start before the first step.
        before: w, the variables before the step.
        after: w'.
        start_share: s.
    """
    return jax.tree.map(lambda b, w, v: b + (1 - start_share) * (v - w), blend, before, after)

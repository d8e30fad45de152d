"""Learning-rate range test: increase the rate at every step and record the loss.

"Cyclical Learning Rates for Training Neural Networks" (Smith, arXiv 1506.01186), section 3.3. The
suggestion is a starting point, not a tuned rate: `gtn compare` tunes.
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gtn_jax.config import Config, override
from gtn_jax.data import pipeline
from gtn_jax.data.sources import absolute
from gtn_jax.devices import Devices, put_batch, replicate
from gtn_jax.files import write_text
from gtn_jax.training.duration import format_seconds
from gtn_jax.training.image_store import load_images
from gtn_jax.training.setup import load_variables, open_setup
from gtn_jax.weights.recognize import with_backbone

STEPS = 100
LOWEST, HIGHEST = 1e-5, 10.0
_TIMED = range(2, 6)
"""Steps to time: not the one that compiles, nor the first one after it."""
_SMOOTHING = 0.9
_HOPELESS = 3.0
"""Multiple of the lowest smoothed loss above which the test ends."""


class RangeTest(NamedTuple):
    """Loss against learning rate.

    Attributes:
        rates: float64 S, increasing.
        losses: float64 S, of each step's batch, before its update.
        smoothed: float64 S, bias-corrected exponential moving average of the losses.
        suggested: a tenth of `highest`.
        highest: the rate of the lowest smoothed loss; training diverges slightly above it.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggested: float
    highest: float


def find_lr(
    config: Config, devices: Devices = None, say: Callable[[str], None] = lambda line: None
) -> RangeTest:
    """Train up to `STEPS` steps at rates from `LOWEST` to `HIGHEST`; writes nothing.

    Backbone and heads train, unless the config freezes the backbone in all epochs.

    Args:
        devices: as in `loop.run`.
        say: takes lines for the user.

    Raises:
        ValueError: any error of a run's start; or a non-finite loss at the lowest rates.
    """
    config = with_backbone(config)
    training = config.training
    frozen = training.freeze_epochs >= training.epoch_count
    config = override(
        dataclasses.replace(config, data=absolute(config.data)),
        {
            "optimizer.schedule": "constant",
            "optimizer.warmup_epochs": 0.0,
            "data.feature_cache_views": 0,
            "training.freeze_epochs": training.epoch_count if frozen else 0,
            "training.select": "last",
            "training.early_stopping_patience": 0,
        },
    )
    setup, parts = open_setup(config, devices)
    train = load_images(setup.config, {"train": parts["train"]}, setup.mesh)["train"]
    programs, mesh = setup.programs, setup.mesh
    state = setup.state(load_variables(setup.config, setup.model))
    batches = pipeline.training_batches(
        train, setup.epoch.batch_size, config.data.last_batch, config.seed
    )
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    losses: list[float] = []
    started = 0.0
    for number, rate in enumerate(rates):
        if number == _TIMED.start:
            started = time.perf_counter()
        elif number == _TIMED.stop:
            left = (time.perf_counter() - started) / len(_TIMED) * (STEPS - number)
            say(f"time    about {format_seconds(left)}: {STEPS} steps at most")
        batch: Any = put_batch(next(batches), mesh)
        state = state.at_rate(replicate(jnp.float32(rate), mesh))
        state, metrics = programs.take_step(state, batch, frozen, False)
        host_metrics = jax.device_get(metrics)
        loss = float(host_metrics["loss"])
        if not math.isfinite(loss) or host_metrics["refused"]:
            break
        losses.append(loss)
        if len(losses) > STEPS // 10 and smooth(losses)[-1] > _HOPELESS * min(smooth(losses)):
            break
    say(f"{len(losses)} steps, the last at rate {rates[max(len(losses) - 1, 0)]:.2g}")
    return summarize(rates[: len(losses)], np.array(losses))


def smooth(losses: Sequence[float] | np.ndarray) -> np.ndarray:
    """Exponential moving average with decay 0.9 and bias correction: S -> S."""
    mean, smoothed = 0.0, []
    for number, loss in enumerate(losses, 1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smoothed.append(mean / (1 - _SMOOTHING**number))
    return np.array(smoothed)


def summarize(rates: np.ndarray, losses: np.ndarray) -> RangeTest:
    """The suggestion of increasing rates S and finite losses S; ValueError for fewer than ten."""
    if len(losses) < STEPS // 10:
        raise ValueError(
            f"the loss was not finite after {len(losses)} steps, at rates of {LOWEST:g} and little "
            "more; look at the data, or train with training.log_every_steps 1"
        )
    smoothed = smooth(losses)
    # Not the steepest descent, the other usual choice: small batches are too noisy.
    highest = float(rates[smoothed.argmin()])
    return RangeTest(rates, losses, smoothed, highest / 10, highest)


def write(result: RangeTest, folder: Path) -> list[Path]:
    """Write find_lr.json and, if matplotlib is installed, find_lr.png; a run may start in `folder`
    later."""
    files = [folder / "find_lr.json"]
    values = {name: np.asarray(value).tolist() for name, value in result._asdict().items()}
    write_text(files[0], json.dumps(values) + "\n")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return files
    figure = Figure((6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(result.rates, result.losses, alpha=0.3, label="loss of each batch")
    axes.plot(result.rates, result.smoothed, label="smoothed")
    axes.axvline(result.suggested, color="C2", label=f"a tenth of that: {result.suggested:.2g}")
    axes.axvline(result.highest, color="C3", label=f"lowest: {result.highest:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axes.set_ylim(0, 1.2 * result.losses[: STEPS // 10].max())
    axes.legend()
    files.append(folder / "find_lr.png")
    figure.savefig(files[1], dpi=150, metadata={"Software": None})
    return files

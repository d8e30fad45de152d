"""Estimate of the duration of a comparison, from two epochs of one of its runs."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from gtn_jax.analysis.methods import is_frozen
from gtn_jax.config import Config, override
from gtn_jax.devices import Device
from gtn_jax.training.loop import run
from gtn_jax.training.resolution import total_steps

_FROZEN_SHARE = 0.3
"""Time of a step without the backbone's gradient, relative to a full step (docs/benchmarks.md)."""


class Costs(NamedTuple):
    """Seconds measured by `probe`: until the first step, for compiling (once per method), per step
    (on cached features if the backbone stays frozen), per evaluation of validation and test, and
    per save.
    """

    start: float
    compile: float
    step: float
    evaluation: float
    checkpoint: float
    steps_per_epoch: int


def probe(config: Config, workdir: Path, device: Device) -> Costs:
    """Run two epochs of a config in a temporary folder inside `workdir`."""
    frozen = is_frozen(config)
    changes = {
        "training.epochs": 2,
        "training.steps": None,
        "training.eval_every_epochs": 2,
        "training.eval_every_steps": None,
        "training.freeze_epochs": 2 if frozen else 0,
        "data.feature_cache_views": min(1, config.data.feature_cache_views) if frozen else 0,
        "data.small_image_epochs": 0,
        "optimizer.warmup_epochs": 0.0,
    }
    folder = workdir / "probe"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        summary = run(override(config, changes), folder, quiet=True, devices=[device])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # Validation is evaluated after the epochs and for the selected step, test once at the end.
    return Costs(
        sum(summary[f"{part}_seconds"] for part in ("start", "head", "cache")),
        summary["compile_seconds"],
        summary["train_seconds"] / max(1, summary["steps"] - 1),
        summary["evaluate_seconds"] / 2,
        summary["checkpoint_seconds"] / 2,
        summary["steps"] // 2,
    )


def run_seconds(config: Config, costs: Costs) -> float:
    """Seconds of one run, without compilation."""
    training, per_epoch = config.training, costs.steps_per_epoch
    steps = total_steps(config, per_epoch)
    evaluations = steps / (training.eval_every_steps or training.eval_every_epochs * per_epoch)
    if training.head_start == "solved":
        evaluations += 1
    frozen = min(training.freeze_epochs * per_epoch, steps)
    if is_frozen(config) and config.data.feature_cache_views:
        full = float(steps)  # the probe's steps used cached features, too
    elif config.data.feature_cache_views:
        cached = min(frozen, config.data.feature_cache_views * per_epoch)
        full = steps - frozen + _FROZEN_SHARE * cached
    else:
        share = _FROZEN_SHARE if training.freeze_mode == "no_grad" else 1.0
        full = steps - frozen + share * frozen
    return costs.start + full * costs.step + evaluations * (costs.evaluation + costs.checkpoint)


def total_seconds(
    configs: Iterable[Config], costs: Costs, compilations: int, at_once: int
) -> float:
    """Seconds of many runs, `at_once` in parallel, that share `compilations` programs."""
    runs = sum(run_seconds(config, costs) for config in configs)
    return runs / at_once + compilations * costs.compile

"""How long a comparison will take, from two epochs of one of its runs."""

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
"""Of a full step's time: a frozen one without the backbone's gradient, see docs/benchmarks.md."""


class Costs(NamedTuple):
    """Seconds that a probe spent.

    Attributes:
        start: up to the first step, decoded images and solved classifiers included.
        compile: once for all runs of a method.
        step: one training step, of a frozen backbone whose features are cached or else of all.
        evaluation: a pass over validation and test.
        checkpoint: a save.
        steps_per_epoch: of the run.
    """

    start: float
    compile: float
    step: float
    evaluation: float
    checkpoint: float
    steps_per_epoch: int


def probe(config: Config, workdir: Path, device: Device) -> Costs:
    """Run two epochs of a config and forget them.

    Args:
        config: of one run.
        workdir: of the comparison; the probe's folder in it is removed.
        device: to run on.
    """
    whole = is_frozen(config)
    changes = {
        "training.epochs": 2,
        "training.steps": None,
        "training.eval_every_epochs": 2,
        "training.eval_every_steps": None,
        "training.freeze_epochs": 2 if whole else 0,
        "data.feature_cache_views": min(1, config.data.feature_cache_views) if whole else 0,
        "data.small_image_epochs": 0,
        "optimizer.warmup_epochs": 0.0,
    }
    folder = workdir / "probe"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        summary = run(override(config, changes), folder, quiet=True, devices=[device])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # Two epochs are evaluated once, and the selected step once more: twice, and test at the end.
    return Costs(
        sum(summary[f"{part}_seconds"] for part in ("start", "head", "cache")),
        summary["compile_seconds"],
        summary["train_seconds"] / max(1, summary["steps"] - 1),
        summary["evaluate_seconds"] / 2,
        summary["checkpoint_seconds"] / 2,
        summary["steps"] // 2,
    )


def run_seconds(config: Config, costs: Costs) -> float:
    """What one run of a config will take, its compilation apart."""
    training, per_epoch = config.training, costs.steps_per_epoch
    steps = total_steps(config, per_epoch)
    evaluations = steps / (training.eval_every_steps or training.eval_every_epochs * per_epoch)
    if training.head_start == "solved":
        evaluations += 1
    frozen = min(training.freeze_epochs * per_epoch, steps)
    if is_frozen(config) and config.data.feature_cache_views:
        full = float(steps)  # the probe's steps were of cached features
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
    """Of many runs.

    Args:
        configs: one a run.
        costs: of `probe`.
        compilations: programs that the runs share.
        at_once: how many run at the same time.
    """
    runs = sum(run_seconds(config, costs) for config in configs)
    return runs / at_once + compilations * costs.compile

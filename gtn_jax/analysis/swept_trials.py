"""Trials with a frozen backbone, as sweeps of heads instead of one run each.

Rows are those of `trials.run_trials`, and test predictions are kept in the trial's folder; there
are no run folders that can be resumed or restored.
"""

import collections
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from gtn_jax.analysis.head_sweep import SeedData, Sweep, SweptHeads, make_sweep, train_heads
from gtn_jax.analysis.methods import is_frozen
from gtn_jax.analysis.trials import Clock, Say, Trial
from gtn_jax.arrays import Pooled
from gtn_jax.config import Config, override
from gtn_jax.data import pipeline
from gtn_jax.data.augment import evaluation_transform
from gtn_jax.data.images import Images
from gtn_jax.devices import Device, replicate
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.runs.predictions import SavedPredictions
from gtn_jax.training.divergence import Diverged
from gtn_jax.training.feature_cache import compute_features
from gtn_jax.training.forward_steps import PoolingStep, make_pooling_step
from gtn_jax.training.image_store import load_images
from gtn_jax.training.setup import build_module, build_programs, load_variables, open_setup

_SILENT_SECONDS = 3.0


def is_sweepable(config: Config) -> bool:
    """Whether a run of this config only trains a head on cached features."""
    training = config.training
    return (
        is_frozen(config)
        and training.head_start == "random"
        and training.steps is None
        and training.eval_every_steps is None
        and config.data.feature_cache_views > 0
        and config.data.last_batch == "drop"
        and training.accumulation_steps == 1
        and training.epoch_count % training.eval_every_epochs == 0
        and training.select in ("val", "last")
        and training.label_smoothing == training.ema_decay == training.early_stopping_patience == 0
    )


def run_swept(trials: Sequence[Trial], device: Device, clock: Clock, say: Say) -> None:
    """`run_trials` for sweepable trials; those that differ only in seed and rate form one sweep.

    Raises:
        Diverged: a loss or gradient was not finite, in a trial without `diverged`.
    """
    sweeps: dict[Config, list[Trial]] = {}
    for trial in trials:
        sweeps.setdefault(_without_seed_and_rate(trial.config), []).append(trial)
    users = collections.Counter(_backbone_only(trial.config) for trial in trials)
    costs: dict[Config, float] = {}
    for own in sweeps.values():
        _run_sweep(own, device, clock, say, users, costs)


def _run_sweep(
    trials: Sequence[Trial],
    device: Device,
    clock: Clock,
    say: Say,
    users: Mapping[Config, int],
    costs: dict[Config, float],
) -> None:
    """One sweep. The time for computing features is shared by all trials that use them.

    `users` maps the config of features to the number of trials, in all sweeps, that use them, and
    `costs` to seconds; a missing entry is measured here.
    """
    started = time.monotonic()
    seeds = list(dict.fromkeys(trial.config.seed for trial in trials))
    rates = list(dict.fromkeys(_rate(trial) for trial in trials))
    config = trials[0].config
    features, shares, shared = [], [], 0.0
    for seed in seeds:
        before, backbone = time.monotonic(), _backbone_only(override(config, {"seed": seed}))
        features.append(_features(backbone, device))
        spent = time.monotonic() - before
        if backbone not in costs:
            costs[backbone] = spent
            shared += spent
        shares.append(costs[backbone] / users[backbone])
        if spent > _SILENT_SECONDS:
            say(f"features of seed {seed}: {spent:.0f} s")
    first, shared_config = features[0], _without_seed_and_rate(config)
    sizes = len(first.rows[0]), first.batch_size
    sweep = _sweep(shared_config, first.classes, first.preprocessing, *sizes)
    data, parameters, trained = [], 0, 0
    for seed, its_features in zip(seeds, features, strict=True):
        seed_config = override(config, {"seed": seed})
        model = build_module(seed_config, its_features.classes)
        params = load_variables(seed_config, model)["params"]
        heads = {name: tree for name, tree in params.items() if name != "backbone"}
        views = its_features.views
        views = views if model.auxiliary else views._replace(penultimate=None)
        data.append(SeedData(heads, np.array(seed % 2**32, np.uint32), views, *its_features[1:7]))
        parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
        trained = sum(leaf.size for leaf in jax.tree.leaves(heads))
    with jax.default_device(device):
        swept = train_heads(sweep, data, rates)
    own_seconds = (time.monotonic() - started - shared) / (len(seeds) * len(rates))
    # Compilation is shared by all trials, and included in their seconds.
    known = {"compile_seconds": 0.0, "parameters": parameters, "trained_parameters": trained}
    for trial in trials:
        at = seeds.index(trial.config.seed), rates.index(_rate(trial))
        seconds = {"seconds": own_seconds + shares[at[0]]}
        line = _finish(trial, swept, at, features[at[0]], known | seconds)
        say(f"{clock.tick()} {line}")


def _finish(
    trial: Trial, swept: SweptHeads, at: tuple[int, int], of: "_Features", known: dict[str, Any]
) -> str:
    if swept.diverged[at]:
        if trial.diverged is None:
            raise Diverged(f"{trial.folder.name}: a loss or gradient was not finite")
        return trial.diverged()
    trial.folder.mkdir(parents=True, exist_ok=True)
    of_images = (np.asarray(array[at]) for array in swept.test_predictions)
    predictions = SavedPredictions(of.test_files, of.test_labels, *of_images)
    RunFolder(trial.folder).keep_predictions({"test": predictions})
    return trial.finish({
        "validation_accuracy": float(swept.validation_accuracy[at]),
        "validation_loss": float(swept.validation_loss[at]),
        "test_accuracy": float(swept.test_accuracy[at]),
        "best_test_accuracy": float(swept.best_test_accuracy[at]),
        **known,
    })  # fmt: skip


class _Features(NamedTuple):
    """Features of one seed; fields 0 to 6 are those of `SeedData` after its `seed`."""

    views: Pooled
    labels: np.ndarray
    rows: np.ndarray
    validation: Pooled
    validation_labels: np.ndarray
    test: Pooled
    test_labels: np.ndarray
    test_files: np.ndarray
    classes: int
    batch_size: int
    preprocessing: Preprocessing


_NO_RATES = {"optimizer.learning_rate": 1.0, "optimizer.head_learning_rate": None}


def _rate(trial: Trial) -> float:
    return trial.config.optimizer.rates[1]


def _without_seed_and_rate(config: Config) -> Config:
    return override(config, {"seed": 0, **_NO_RATES})


def _backbone_only(config: Config) -> Config:
    """Equal for all methods that use the same features."""
    aux_weight = float(config.model.aux_weight > 0)
    return override(config, {"model.gate": "none", "model.aux_weight": aux_weight, **_NO_RATES})


# Enough for the seeds of a comparison, with and without auxiliary features.
@functools.lru_cache(maxsize=24)
def _features(config: Config, device: Device) -> _Features:
    setup, parts = open_setup(config, [device])
    mesh, preprocessing, batch_size = setup.mesh, setup.preprocessing, setup.epoch.batch_size
    per_epoch, classes, model = setup.epoch.steps, len(setup.classes), setup.model
    images = load_images(setup.config, parts, mesh)
    train, seed = images["train"], config.seed % 2**32
    variables, programs = load_variables(setup.config, model), setup.programs
    variables = replicate(variables, mesh)
    key = jax.device_put(jax.random.key(np.uint32(seed)), device)
    views = config.data.feature_cache_views
    cache = compute_features(programs.pooling_step, variables, key, train, views, batch_size, mesh)
    steps = range(config.training.epoch_count * per_epoch)
    rows = [pipeline.rows_of_step(train, batch_size, "drop", seed, step) for step in steps]
    evaluation = _evaluation_pooling(cast(Any, model), preprocessing)

    def evaluated(of: Images) -> Pooled:
        size = config.data.eval_batch_size
        pooled = compute_features(evaluation, variables, key, of, 1, size, mesh).pooled
        return Pooled(pooled.final[0], None)

    return _Features(
        cache.pooled,
        cache.labels,
        np.stack(rows).astype(np.int32).reshape(config.training.epoch_count, per_epoch, batch_size),
        evaluated(images["validation"]),
        images["validation"].part.labels,
        evaluated(images["test"]),
        images["test"].part.labels,
        images["test"].part.files,
        classes,
        batch_size,
        preprocessing,
    )


# Tuning and final runs share a program.
@functools.lru_cache(maxsize=32)
def _sweep(
    config: Config, classes: int, preprocessing: Preprocessing, per_epoch: int, batch_size: int
) -> Sweep:
    model, training = build_module(config, classes), config.training
    programs = build_programs(config, model, preprocessing, per_epoch, batch_size)
    weight, is_last = config.model.aux_weight, training.select == "last"
    return make_sweep(model, programs.optimizer, weight, training.eval_every_epochs, is_last)


@functools.lru_cache(maxsize=4)
def _evaluation_pooling(model: Any, preprocessing: Any) -> PoolingStep:
    return jax.jit(make_pooling_step(model, evaluation_transform(*preprocessing)))

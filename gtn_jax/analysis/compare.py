"""Comparison of methods: learning rates tuned on validation, then paired seeds on test.

The seed determines the training and validation images, head initialization, data order,
augmentation and dropout of all methods, so differences are paired. Finished runs are rows of
`results.jsonl` and `tuning.jsonl`; started again, a comparison runs only what is missing.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from gtn_jax.analysis import estimate, tuning
from gtn_jax.analysis.methods import Rates, check_methods, check_runs, is_untrained, method_config
from gtn_jax.analysis.swept_trials import is_sweepable, run_swept
from gtn_jax.analysis.trials import Clock, Say, Summary, Trial, rough_time, run_trials
from gtn_jax.analysis.tuning import Row
from gtn_jax.config import Config, override
from gtn_jax.config.serialization import differences, from_json, to_json
from gtn_jax.data.sources import open_data
from gtn_jax.data.subsets import Subset, choose
from gtn_jax.devices import Device, data_mesh, in_words
from gtn_jax.errors import ArgumentError
from gtn_jax.files import write_text
from gtn_jax.runs.folder import RunFolder
from gtn_jax.runs.provenance import start_row
from gtn_jax.runs.row_file import append_row, read_rows
from gtn_jax.training.resolution import adopt, resolve
from gtn_jax.training.setup import check_model, epoch_of

FILE = "results.jsonl"
METHODS_FILE = "methods.jsonl"


def check(config: Config, methods: Sequence[str], seeds: int, trials: int, workdir: Path) -> Config:
    """Validate a comparison before any work, and record its config and methods in `workdir`.

    Call it inside `lock.locked`. Returns the experiment's config, resolved.

    Raises:
        ValueError: from `check_methods`, `check_runs` or `check_model`; no seed or trial; a missing
            split; `workdir` holds a comparison of another config, or another method of that name.
    """
    check_methods(config, methods)
    # Checking a deep network takes a moment, and most methods share a model.
    asked_configs = [method_config(config, method, None, 0) for method in methods]
    for one in {asked.model: asked for asked in asked_configs}.values():
        check_model(one)
    for argument, count in (("seeds", seeds), ("trials", trials)):
        if count < 1:
            raise ArgumentError(argument, f"invalid value {count}; expected at least 1")
    parts = choose(open_data(config.data), config.data, config.seed)
    missing = sorted({"train", "validation", "test"} - set(parts))
    if missing:
        raise ValueError(
            f"{config.data.name} has no {' and no '.join(missing)} split to compare on"
        )
    path = workdir / "config.json"
    here = from_json(path) if path.exists() else None
    config = _resolved(config, here, parts["train"])
    check_runs(config, methods)
    if here is not None:
        changed = differences(here, config)
        if changed:
            raise ValueError(
                f"{workdir} holds a comparison of another config; use another folder.\n"
                f"here -> asked for: {'; '.join(changed)}"
            )
    kept_rows = read_rows(workdir / METHODS_FILE, ("method", "changes"))
    kept = {row["method"]: row["changes"] for row in kept_rows}
    seed = config.seed
    asked = {name: differences(config, method_config(config, name, None, seed)) for name in methods}
    for name, changes in asked.items():
        if kept.get(name, changes) != changes:
            raise ValueError(
                f"{workdir} holds runs of another method {name}; use another folder, or name.\n"
                f"here: {'; '.join(kept[name])}\nasked for: {'; '.join(changes)}"
            )
    workdir.mkdir(parents=True, exist_ok=True)
    write_text(path, to_json(config))
    for name, changes in asked.items():
        if name not in kept:
            append_row(workdir / METHODS_FILE, {"method": name, "changes": changes})
    return config


def _resolved(config: Config, here: Config | None, train: Subset) -> Config:
    """Resolve open fields, or take them from the existing comparison `here`."""
    epoch = epoch_of(config, train, devices=1)
    size = epoch.images, epoch.batch_size, epoch.steps
    resolved = resolve(config, *size) if here is None else adopt(config, here)
    if config.training.epochs != "auto" and config.training.steps:
        # Methods freeze a fraction of the epochs.
        epochs = -(-config.training.steps // epoch.steps)
        resolved = override(resolved, {"training.epochs": epochs})
    return resolved


def result_rows(workdir: Path) -> list[Row]:
    """Rows of finished final runs (see `final_trials`); ValueError if the file is damaged."""
    fields = ("method", "seed", "learning_rate", "accuracy", "seconds", "parameters")
    return read_rows(workdir / FILE, fields)


def run_folder(workdir: Path, method: str, seed: int) -> Path:
    """Folder of a final run."""
    return workdir / "runs" / f"{method}-seed{seed}"


def final_trials(
    config: Config,
    rates: Mapping[str, Rates],
    seeds: Sequence[int],
    workdir: Path,
    watch_test: bool = False,
) -> list[Trial]:
    """The final runs that have no row yet, each method at its rates.

    Rows go to `workdir/results.jsonl`: method, seed, learning_rate and head_learning_rate (null for
    an untrained method), accuracy (test, at the epoch selected on validation), best_test_accuracy
    (highest over evaluated epochs, which is biased, or null), seconds, parameters,
    trained_parameters. With `watch_test`, test is evaluated in every evaluation.
    """
    path = workdir / FILE
    done = {(row["method"], row["seed"], Rates.of(row)) for row in result_rows(workdir)}

    def finish(method: str, seed: int, own: Rates, summary: Summary) -> str:
        folder = run_folder(workdir, method, seed)
        tested = [row["accuracy"] for row in RunFolder(folder).rows() if row["split"] == "test"]
        append_row(path, {
            "method": method, "seed": seed, **own.fields(),
            "accuracy": summary["test_accuracy"],
            "best_test_accuracy": summary.get("best_test_accuracy", max(tested, default=None)),
            "seconds": round(summary["seconds"], 2),
            "parameters": summary["parameters"],
            "trained_parameters": summary["trained_parameters"],
        })  # fmt: skip
        return (
            f"run     {folder.name:<22} test accuracy {summary['test_accuracy']:.4f}  "
            f"{summary['seconds']:5.1f} s, of which compiling {summary['compile_seconds']:.1f}"
        )

    config = override(config, {"training.watch_test": watch_test})
    return [
        Trial(
            method_config(config, method, own.backbone, seed, own.head),
            run_folder(workdir, method, seed),
            functools.partial(finish, method, seed, own),
        )
        for seed in seeds
        for method, own in rates.items()
        if (method, seed, own) not in done
    ]


def final_rows(workdir: Path, rates: Mapping[str, Rates], seeds: Sequence[int]) -> list[Row]:
    """The rows of these runs that are finished."""
    wanted = {(method, seed, own) for method, own in rates.items() for seed in seeds}
    rows = result_rows(workdir)
    return [row for row in rows if (row["method"], row["seed"], Rates.of(row)) in wanted]


def newest_rows(workdir: Path) -> list[Row]:
    """The final rows of each method at the rates of its newest one.

    Raises:
        ValueError: no row yet, or a damaged file.
    """
    rows = result_rows(workdir)
    if not rows:
        raise ValueError(f"{workdir}: a comparison without a final run yet; let it go on")
    rates = {row["method"]: Rates.of(row) for row in rows}
    return [row for row in rows if Rates.of(row) == rates[row["method"]]]


def compare(
    config: Config,
    rates: Mapping[str, Rates],
    seeds: Sequence[int],
    workdir: Path,
    devices: Sequence[Device],
    say: Say,
) -> list[Row]:
    """One final run per method and seed, at known rates; one run at a time on each device.

    Example:
        A probe is solved, so it has no rates; others are tuned by `tune_and_compare`.

        >>> import jax
        >>> from gtn_jax.analysis.methods import UNTRAINED
        >>> from gtn_jax.config import Config, DataConfig, ModelConfig
        >>> data = DataConfig(data_dir="data", image_size=8, train_images_per_class=4)
        >>> model = ModelConfig("resnet8_wide", stages=2, weights="tiny_imagenet", aux_weight=0)
        >>> rates, devices = {"linear_probe": UNTRAINED}, jax.local_devices()[:1]
        >>> rows = compare(Config(data, model), rates, [0], Path("runs/probe"), devices, len)
        >>> [(row["method"], row["seed"], round(row["accuracy"], 2)) for row in rows]
        [('linear_probe', 0, 0.77)]
    """
    trials = final_trials(config, rates, seeds, workdir)
    run_trials(trials, devices, Clock(len(trials)), say)
    return final_rows(workdir, rates, seeds)


def tune_and_compare(
    config: Config,
    methods: Sequence[str],
    seeds: Sequence[int],
    trials: int,
    workdir: Path,
    devices: Sequence[Device],
    say: Say,
) -> list[Row]:
    """Tune every method's rates, then run all methods on all seeds; prints an estimate of the time.

    If every trained method has a frozen backbone and cached features, heads are swept
    (head_sweep.py). `config` is the return value of `check`; `trials` is the number of tuning runs
    per method and pair of rates.
    """
    assert config.training.epochs != "auto"
    RunFolder(workdir).append_start(start_row(in_words(data_mesh(devices)), 0))
    configs = {method: method_config(config, method, None, 0) for method in methods}
    trained = [method for method in methods if not is_untrained(configs[method])]
    tunings = tuning.missing_count(config, methods, trials, workdir)
    done = {(row["method"], row["seed"]) for row in result_rows(workdir)}
    finals = [method for method in methods for seed in seeds if (method, seed) not in done]
    clock = Clock(tunings + len(finals))
    swept = bool(trained) and all(is_sweepable(configs[method]) for method in trained)

    def run_all(trials: Sequence[Trial]) -> None:
        # A solved probe is an ordinary run, even if all other trials are heads of a sweep.
        heads = [trial for trial in trials if swept and is_sweepable(trial.config)]
        runs = [trial for trial in trials if trial not in heads]
        if heads:
            run_swept(heads, devices[0], clock, say)
        if runs:
            run_trials(runs, devices, clock, say)

    if swept and tunings + len(finals):
        say(f"{tunings} tuning and {len(finals)} final heads on features of a frozen backbone")
    elif trained and tunings + len(finals) > 2:
        each = tuning.CONFIGURATIONS * trials
        costs = estimate.probe(configs[trained[0]], workdir, devices[0])
        share, rest = divmod(tunings, len(trained))
        runs = [configs[method] for method in trained for _ in range(share)]
        runs += [configs[trained[0]]] * rest + [configs[method] for method in finals]
        seconds = estimate.total_seconds(runs, costs, len(trained), len(devices))
        say(
            f"about {rough_time(seconds)}: {tunings} tuning runs ({each} per trained method) and "
            f"{len(finals)} final runs, {len(devices)} at a time"
        )
    rates = tuning.tune(config, methods, trials, workdir, run_all)
    run_all(final_trials(config, rates, seeds, workdir, watch_test=True))
    return final_rows(workdir, rates, seeds)

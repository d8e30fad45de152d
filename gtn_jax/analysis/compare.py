"""Methods side by side: a rate tuned for each on validation, then paired seeds on test.

A seed sets the choice of training and validation images, the head's start, data order, augmentation
and dropout, for all methods alike, so differences are paired. Finished runs are rows in
`results.jsonl` and `tuning.jsonl` (tuning.py); started again, only what is missing is run.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from gtn_jax.analysis import estimate, tuning
from gtn_jax.analysis.methods import check_methods, method_config
from gtn_jax.analysis.swept_trials import is_sweepable, run_swept
from gtn_jax.analysis.trials import Clock, Say, Summary, Trial, in_words, run_trials
from gtn_jax.analysis.tuning import Row
from gtn_jax.config import Config, override
from gtn_jax.config_json import differences, from_json, to_json
from gtn_jax.data.choice import choose
from gtn_jax.data.sources import open_data
from gtn_jax.errors import UsageError
from gtn_jax.training.build import check_model
from gtn_jax.training.environment import start_row
from gtn_jax.training.row_file import append_row, read_rows
from gtn_jax.training.run_folder import RunFolder
from gtn_jax.training.sharding import Device, data_mesh
from gtn_jax.training.sharding import in_words as device_words

FILE = "results.jsonl"
METHODS_FILE = "methods.jsonl"


def check(config: Config, methods: Sequence[str], seeds: int, trials: int, workdir: Path) -> None:
    """Refuse, before any work, a comparison that could not be finished or would mix two.

    Raises:
        ValueError: as `check_methods` and `check_model`; no seed or trial; a data set without the
            splits that are needed; or a folder with a comparison of another config, or of another
            method of that name.
    """
    check_methods(config, methods)
    # Most methods differ in other things, and looking at a deep network takes a moment.
    asked_configs = [method_config(config, method, 1.0, 0) for method in methods]
    for one in {asked.model: asked for asked in asked_configs}.values():
        check_model(one)
    for option, count in (("--seeds", seeds), ("--trials", trials)):
        if count < 1:
            raise UsageError(f"{option}: {count} does not work; wanted at least 1")
    parts = choose(open_data(config.data), config.data, config.seed)
    missing = sorted({"train", "validation", "test"} - set(parts))
    if missing:
        raise ValueError(
            f"{config.data.name} has no {' and no '.join(missing)} split to compare on"
        )
    path = workdir / "config.json"
    if path.exists():
        changed = differences(from_json(path), config)
        if changed:
            raise ValueError(
                f"{workdir} holds a comparison of another config; use another --workdir.\n"
                f"here -> asked for: {'; '.join(changed)}"
            )
    kept_rows = read_rows(workdir / METHODS_FILE, ("method", "changes"))
    kept = {row["method"]: row["changes"] for row in kept_rows}
    # Relative to the config, which is the same: what stands here is what the rows are of.
    rate, seed = config.optimizer.learning_rate, config.seed
    asked = {name: differences(config, method_config(config, name, rate, seed)) for name in methods}
    for name, changes in asked.items():
        if kept.get(name, changes) != changes:
            raise ValueError(
                f"{workdir} holds runs of another method {name}; use another --workdir, or name.\n"
                f"here: {'; '.join(kept[name])}\nasked for: {'; '.join(changes)}"
            )
    workdir.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(config))
    for name, changes in asked.items():
        if name not in kept:
            append_row(workdir / METHODS_FILE, {"method": name, "changes": changes})


def result_rows(workdir: Path) -> list[Row]:
    """The final runs that are finished; see `final_trials` for what a row holds.

    Raises:
        ValueError: the file is damaged.
    """
    fields = ("method", "seed", "learning_rate", "accuracy", "seconds", "parameters")
    return read_rows(workdir / FILE, fields)


def run_folder(workdir: Path, method: str, seed: int) -> Path:
    """Where a final run is."""
    return workdir / "runs" / f"{method}-seed{seed}"


def final_trials(
    config: Config,
    rates: dict[str, float],
    seeds: Sequence[int],
    workdir: Path,
    watch_test: bool = False,
) -> list[Trial]:
    """The final runs that have no row yet, each method at its rate.

    Rows go to `workdir/results.jsonl`: method, seed, learning_rate, accuracy (on test, of the epoch
    that validation chose), best_test_accuracy (null, or the highest of all epochs that were
    evaluated, which no honest choice finds), seconds, parameters, trained_parameters.

    Args:
        config: of the experiment.
        rates: method -> learning rate.
        seeds: of the runs.
        workdir: of the comparison.
        watch_test: evaluate test in every evaluation, for `best_test_accuracy`.
    """
    path = workdir / FILE
    done = {(row["method"], row["seed"], row["learning_rate"]) for row in result_rows(workdir)}

    def keep(method: str, seed: int, rate: float, summary: Summary) -> str:
        folder = run_folder(workdir, method, seed)
        tested = [row["accuracy"] for row in RunFolder(folder).rows() if row["split"] == "test"]
        append_row(path, {
            "method": method, "seed": seed, "learning_rate": rate,
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
            method_config(config, method, rate, seed),
            run_folder(workdir, method, seed),
            functools.partial(keep, method, seed, rate),
        )
        for seed in seeds
        for method, rate in rates.items()
        if (method, seed, rate) not in done
    ]


def final_rows(workdir: Path, rates: dict[str, float], seeds: Sequence[int]) -> list[Row]:
    """The rows of these runs, of those that are finished."""
    wanted = {(method, seed, rate) for method, rate in rates.items() for seed in seeds}
    rows = result_rows(workdir)
    return [r for r in rows if (r["method"], r["seed"], r["learning_rate"]) in wanted]


def newest_rows(workdir: Path) -> list[Row]:
    """The final rows of each method at the rate of its newest one.

    Raises:
        ValueError: no row yet, or a damaged file.
    """
    rows = result_rows(workdir)
    if not rows:
        raise ValueError(f"{workdir}: a comparison without a final run yet; let it go on")
    rates = {row["method"]: row["learning_rate"] for row in rows}
    return [row for row in rows if row["learning_rate"] == rates[row["method"]]]


def compare(
    config: Config,
    rates: dict[str, float],
    seeds: Sequence[int],
    workdir: Path,
    devices: Sequence[Device],
    say: Say,
) -> list[Row]:
    """One final run per method and seed, at rates that are known.

    Args:
        config: of the experiment.
        rates: method -> learning rate.
        seeds: of the runs.
        workdir: of the comparison.
        devices: each has one run at a time.
        say: told of each run.
    """
    trials = final_trials(config, rates, seeds, workdir)
    run_trials(trials, devices, Clock(len(trials), len(devices)), say)
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
    """Tune a rate for every method, then run all methods on all seeds; says how long it will take.

    Where no method moves the trunk and its features are cached, heads are swept (head_sweep.py).

    Args:
        config: of the experiment.
        methods: names in `METHODS`.
        seeds: of the final runs.
        trials: tuning runs a method and rate.
        workdir: of the comparison, checked by `check`.
        devices: each has one run at a time.
        say: told of each run.
    """
    RunFolder(workdir).append_start(start_row(device_words(data_mesh(devices)), 0))
    grid: dict[str, Sequence[float]] = dict.fromkeys(methods, tuning.RATES)
    tunings = tuning.missing_trials(config, grid, tuning.tuning_seeds(trials), workdir)
    done = {(row["method"], row["seed"]) for row in result_rows(workdir)}
    finals = [(method, seed) for method in methods for seed in seeds if (method, seed) not in done]
    clock = Clock(len(tunings) + len(finals), len(devices))
    swept = all(is_sweepable(method_config(config, method, 1.0, 0)) for method in methods)
    if swept and tunings + finals:
        say(
            f"{len(tunings)} tuning and {len(finals)} final heads on the features of a trunk that "
            "stands still"
        )
    elif len(tunings) + len(finals) > 2:
        rate = tuning.RATES[0]  # how long a run takes does not depend on it
        costs = estimate.probe(method_config(config, methods[0], rate, 0), workdir, devices[0])
        configs = [trial.config for trial in tunings]
        configs += [method_config(config, method, rate, seed) for method, seed in finals]
        seconds = estimate.total_seconds(configs, costs, len(methods), len(devices))
        say(
            f"about {in_words(seconds)}: {len(tunings)} tuning and {len(finals)} final runs, "
            f"{len(devices)} at a time; more where a method's best rate is at an edge of the grid"
        )

    counted = len(tunings)

    def run(found: Sequence[Trial]) -> None:
        nonlocal counted
        clock.add(max(0, len(found) - counted))
        counted -= min(counted, len(found))
        run_all(found)

    def run_all(found: Sequence[Trial]) -> None:
        if swept:
            run_swept(found, devices[0], clock, say)
        else:
            run_trials(found, devices, clock, say)

    rates = tuning.tune(config, methods, trials, workdir, run)
    run_all(final_trials(config, rates, seeds, workdir, watch_test=True))
    return final_rows(workdir, rates, seeds)

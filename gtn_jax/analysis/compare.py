"""Methods side by side: a rate tuned for each on validation, then paired seeds on test.

A comparison at one fixed rate mostly measures step sizes (a fresh sigmoid gate halves features,
logits and gradient), so every method gets its own rate from the same grid. Finished runs are rows
in `results.jsonl` and `tuning.jsonl`; started again, only what is missing is run.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from gtn_jax.config import Config, override
from gtn_jax.config_json import differences, from_json, to_json
from gtn_jax.data.choice import choose
from gtn_jax.data.sources import open_data
from gtn_jax.errors import unknown_name
from gtn_jax.training.loop import run
from gtn_jax.training.row_file import append_row, read_rows
from gtn_jax.training.run_folder import RunFolder

METHODS: dict[str, dict[str, Any]] = {
    "finetune": {"model.gate": "none", "model.aux_weight": 0.0},
    "aux": {"model.gate": "none"},
    "gate": {"model.gate": "sigmoid", "model.aux_weight": 0.0},
    "gate_identity": {"model.gate": "identity", "model.aux_weight": 0.0},
    "gtn": {"model.gate": "sigmoid"},
    "gtn_identity": {"model.gate": "identity"},
}
"""Name -> what differs from the experiment's config, whose auxiliary weight `aux` and `gtn*` keep.
All share its freeze schedule."""

# Three a decade over two decades; the last digits are rounded to stay readable in file names.
RATES = (0.01, 0.022, 0.046, 0.1, 0.22, 0.46, 1.0)
_STEP = 10 ** (1 / 3)
_FURTHEST = (1e-5, 10.0)
# Tuning must not see the final seeds: they choose other training images.
_FIRST_TUNING_SEED = 1000

Row = dict[str, Any]
Say = Callable[[str], None]


def check(config: Config, methods: Sequence[str], seeds: int, workdir: Path) -> None:
    """Refuse, before any work, a comparison that could not be finished or would mix two.

    Raises:
        ValueError: unknown method; no seed; a data set without the splits that are needed; methods
            that would be the same; or a folder with a comparison of another config.
    """
    for method in methods:
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
        if "model.aux_weight" not in METHODS[method] and config.model.aux_weight == 0:
            raise ValueError(f"method {method} needs model.aux_weight > 0 in the experiment")
    if seeds < 1:
        raise ValueError(f"--seeds: {seeds} does not work; wanted at least 1")
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
    workdir.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(config))


def method_config(config: Config, method: str, learning_rate: float, seed: int) -> Config:
    """The config of one run of a comparison; `method` is a name in `METHODS`."""
    values = {**METHODS[method], "optimizer.learning_rate": learning_rate, "seed": seed}
    return override(config, values)


def best_rate(rows: Sequence[Row], method: str) -> float:
    """The rate of highest mean validation accuracy; among equals, of lowest validation loss.

    Raises:
        ValueError: no row of this method.
    """
    rates = sorted({row["learning_rate"] for row in rows if row["method"] == method})
    if not rates:
        raise ValueError(f"no tuning runs of method {method!r}")

    def quality(rate: float) -> tuple[float, float]:
        runs = [r for r in rows if r["method"] == method and r["learning_rate"] == rate]
        accuracy = statistics.mean(row["accuracy"] for row in runs)
        return accuracy, -statistics.mean(row["loss"] for row in runs)

    return max(rates, key=quality)


def tune(config: Config, methods: Sequence[str], trials: int, workdir: Path, say: Say) -> list[Row]:
    """Run every method at every rate of the grid, extended while its best lies at an edge.

    Rows go to `workdir/tuning.jsonl`: method, learning_rate, seed, accuracy and loss (both on
    validation), seconds. The test split does not enter.

    Args:
        config: of the experiment.
        methods: names in `METHODS`.
        trials: seeds a rate, the same for every method.
        workdir: of the comparison.
        say: told of each run.
    """
    path = workdir / "tuning.jsonl"
    for method in methods:
        rates = list(RATES)
        while rates:
            for rate in rates:
                for seed in range(_FIRST_TUNING_SEED, _FIRST_TUNING_SEED + trials):
                    _tuning_run(config, method, rate, seed, path, say)
            rates = _extension(read_rows(path), method)
    return read_rows(path)


def _extension(rows: Sequence[Row], method: str) -> list[float]:
    """The next rate outwards if the best is the lowest or highest tried, else nothing."""
    tried = sorted({row["learning_rate"] for row in rows if row["method"] == method})
    best = best_rate(rows, method)
    if best == tried[0]:
        following = best / _STEP
    elif best == tried[-1]:
        following = best * _STEP
    else:
        return []
    following = float(f"{following:.2g}")
    return [following] if _FURTHEST[0] <= following <= _FURTHEST[1] else []


def _tuning_run(config: Config, method: str, rate: float, seed: int, path: Path, say: Say) -> None:
    key = {"method": method, "learning_rate": rate, "seed": seed}
    if any(key.items() <= row.items() for row in read_rows(path)):
        return
    name = f"{method}-rate{rate:g}-seed{seed}"
    folder = path.parent / "tuning" / name
    summary = run(method_config(config, method, rate, seed), folder, quiet=True)
    row = key | {
        "accuracy": summary["validation_accuracy"],
        "loss": summary["validation_loss"],
        "seconds": round(summary["seconds"], 2),
    }
    append_row(path, row)
    say(f"tuning  {name}  validation accuracy {row['accuracy']:.4f}")


def compare(
    config: Config, rates: dict[str, float], seeds: Sequence[int], workdir: Path, say: Say
) -> list[Row]:
    """One run per method and seed, each method at its rate; seeds pair the methods.

    A seed sets the choice of training images, the head's start, data order, augmentation and
    dropout, for all methods alike. Rows go to `workdir/results.jsonl`: method, seed,
    learning_rate, accuracy (on test), seconds, parameters.

    Args:
        config: of the experiment.
        rates: method -> learning rate.
        seeds: of the runs.
        workdir: of the comparison; runs are in `workdir/runs/METHOD-seedN`.
        say: told of each run.
    """
    path = workdir / "results.jsonl"
    for seed in seeds:
        for method, rate in rates.items():
            key = {"method": method, "seed": seed, "learning_rate": rate}
            if any(key.items() <= row.items() for row in read_rows(path)):
                continue
            folder = run_folder(workdir, method, seed)
            summary = run(method_config(config, method, rate, seed), folder, quiet=True)
            row = key | {
                "accuracy": summary["test_accuracy"],
                "seconds": round(summary["seconds"], 2),
                "parameters": summary["parameters"],
            }
            append_row(path, row)
            say(
                f"run     {folder.name:<22} test accuracy {row['accuracy']:.4f}  "
                f"{row['seconds']:5.1f} s, of which compiling {summary['compile_seconds']:.1f}"
            )
    wanted = {(method, seed, rate) for method, rate in rates.items() for seed in seeds}
    rows = read_rows(path)
    return [r for r in rows if (r["method"], r["seed"], r["learning_rate"]) in wanted]


def run_folder(workdir: Path, method: str, seed: int) -> Path:
    """Where `compare` puts a run."""
    return workdir / "runs" / f"{method}-seed{seed}"


def where_time_went(rows: Sequence[Row], workdir: Path) -> str:
    """One line: the seconds of all runs, by what they were spent on."""
    parts = dict.fromkeys(("start", "cache", "compile", "train", "evaluate", "checkpoint"), 0.0)
    for row in rows:
        summary = RunFolder(run_folder(workdir, row["method"], row["seed"])).summary() or {}
        for part in parts:
            parts[part] += summary.get(f"{part}_seconds", 0.0)
    spent = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in parts.items() if seconds)
    return f"{sum(parts.values()):.0f} s in {len(rows)} runs: {spent}"


def comparison_table(rows: Sequence[Row], baseline: str = "finetune") -> Table:
    """Methods as rows, within 80 columns: means and standard deviations over seeds, in percent.

    Args:
        rows: of `compare`.
        baseline: the method that others are subtracted from, seed by seed.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for column in (
        "accuracy %", f"- {baseline}", "runs", "rate", "parameters", "seconds/run"
    ):  # fmt: skip
        table.add_column(column, justify="right", no_wrap=True)
    accuracy = {(row["method"], row["seed"]): 100 * row["accuracy"] for row in rows}
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        paired = [
            accuracy[method, row["seed"]] - accuracy[baseline, row["seed"]]
            for row in own
            if method != baseline and (baseline, row["seed"]) in accuracy
        ]
        table.add_row(
            method,
            _mean_and_deviation([accuracy[method, row["seed"]] for row in own], ".2f"),
            _mean_and_deviation(paired, "+.2f"),
            str(len(own)),
            f"{own[0]['learning_rate']:g}",
            f"{own[0]['parameters']:,}",
            f"{statistics.mean(row['seconds'] for row in own):.1f}",
        )
    return table


def _mean_and_deviation(values: Sequence[float], style: str) -> str:
    if not values:
        return ""
    mean = format(statistics.mean(values), style)
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean

"""A learning rate for each method, chosen on validation from the same grid with as many trials.

A comparison at one fixed rate mostly measures step sizes: a fresh sigmoid gate halves features,
logits and gradient. Where a method's best rate lies at an edge of the grid, the grid goes on there.
Runs are rows of `tuning.jsonl`; the test split does not enter.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gtn_jax.analysis.methods import method_config
from gtn_jax.analysis.trials import Trial
from gtn_jax.config import Config
from gtn_jax.training.row_file import append_row, read_rows

# Three a decade over two decades; the last digits are rounded to stay readable in file names.
RATES = (0.01, 0.022, 0.046, 0.1, 0.22, 0.46, 1.0)
FILE = "tuning.jsonl"
_STEP = 10 ** (1 / 3)
_FURTHEST = (1e-5, 10.0)
# Tuning must not see the final seeds: they choose other training images.
_FIRST_SEED = 1000

Row = dict[str, Any]
RunTrials = Callable[[Sequence[Trial]], None]


def tuning_rows(workdir: Path) -> list[Row]:
    """The tuning runs of a comparison that are finished; see `tune` for what a row holds.

    Raises:
        ValueError: the file is damaged.
    """
    return read_rows(workdir / FILE, ("method", "learning_rate", "seed", "accuracy", "loss"))


def tuning_seeds(trials: int) -> range:
    """The seeds of the tuning runs of every rate."""
    return range(_FIRST_SEED, _FIRST_SEED + trials)


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
        # One that diverged has no loss.
        losses = [float("inf") if row["loss"] is None else row["loss"] for row in runs]
        return accuracy, -statistics.mean(losses)

    return max(rates, key=quality)


def following_rate(rows: Sequence[Row], method: str) -> float | None:
    """The next rate outwards if the best is the lowest or highest tried, else None."""
    tried = sorted({row["learning_rate"] for row in rows if row["method"] == method})
    best = best_rate(rows, method)
    if best not in (tried[0], tried[-1]):
        return None
    further = float(f"{best / _STEP if best == tried[0] else best * _STEP:.2g}")
    return further if _FURTHEST[0] <= further <= _FURTHEST[1] else None


def missing_trials(
    config: Config, rates: dict[str, Sequence[float]], seeds: Sequence[int], workdir: Path
) -> list[Trial]:
    """The runs that have no row yet.

    Args:
        config: of the experiment.
        rates: method -> its rates.
        seeds: of the runs of each rate.
        workdir: of the comparison; runs are in `workdir/tuning`.
    """
    path = workdir / FILE
    done = {(row["method"], row["learning_rate"], row["seed"]) for row in tuning_rows(workdir)}
    return [
        _trial(config, method, rate, seed, path)
        for method, own in rates.items()
        for rate in own
        for seed in seeds
        if (method, rate, seed) not in done
    ]


def tune(
    config: Config, methods: Sequence[str], trials: int, workdir: Path, run: RunTrials
) -> dict[str, float]:
    """Run every method at every rate of the grid, extended while its best lies at an edge.

    Rows go to `workdir/tuning.jsonl`: method, learning_rate, seed, accuracy and loss (both on
    validation), seconds; of a run that diverged the accuracy is 0 and the loss null.

    Args:
        config: of the experiment.
        methods: names in `METHODS`.
        trials: seeds a rate, the same for every method.
        workdir: of the comparison.
        run: runs trials, e.g. `trials.run_trials` with everything else decided.

    Returns:
        method -> rate.
    """
    seeds = tuning_seeds(trials)
    pending: dict[str, Sequence[float]] = dict.fromkeys(methods, RATES)
    while pending:
        run(missing_trials(config, pending, seeds, workdir))
        rows = tuning_rows(workdir)
        further = {method: following_rate(rows, method) for method in pending}
        pending = {method: [rate] for method, rate in further.items() if rate is not None}
    rows = tuning_rows(workdir)
    return {method: best_rate(rows, method) for method in methods}


def _trial(config: Config, method: str, rate: float, seed: int, path: Path) -> Trial:
    name = f"{method}-rate{rate:g}-seed{seed}"

    def keep(accuracy: float, loss: float | None, seconds: float) -> str:
        append_row(path, {
            "method": method, "learning_rate": rate, "seed": seed, "accuracy": accuracy,
            "loss": loss, "seconds": round(seconds, 2),
        })  # fmt: skip
        return f"tuning  {name}  validation accuracy {accuracy:.4f}"

    return Trial(
        method_config(config, method, rate, seed),
        path.parent / "tuning" / name,
        lambda s: keep(s["validation_accuracy"], s["validation_loss"], s["seconds"]),
        lambda: keep(0.0, None, 0.0) + " (diverged)",
    )

"""Learning rates of each method, tuned on validation with equally many trials per method.

A comparison at fixed rates mostly measures step sizes: an untrained sigmoid gate halves features,
logits and gradient. Pairs of a backbone and a head rate are taken from a lattice with three values
per decade: first a coarse grid, then twice the neighbors of the best pair so far, which may lie
outside the grid. Every method gets the same number of pairs (`CONFIGURATIONS`); with a frozen
backbone only the head's rate varies. Runs are rows of `tuning.jsonl`; test is not used.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gtn_jax.analysis.methods import UNTRAINED, Rates, is_untrained, method_config
from gtn_jax.analysis.trials import Trial
from gtn_jax.config import Config
from gtn_jax.runs.row_file import append_row, read_rows
from gtn_jax.training.resolution import is_frozen

FILE = "tuning.jsonl"
_REFINEMENTS = (4, 2)
"""Pairs tried around the best so far, in each refinement."""
CONFIGURATIONS = 6 + sum(_REFINEMENTS)
"""Pairs of rates per method: the coarse grid and all refinements."""
_CENTERS = {"sgd": -4, "adamw": -12}
"""Centers of the coarse grid on the lattice: 0.046 and 1e-4."""
# Disjoint from the final seeds, which select the training images.
_FIRST_SEED = 1000

Row = dict[str, Any]
Place = tuple[int, int]
"""Indices (backbone, head) of a pair on the lattice."""
RunTrials = Callable[[Sequence[Trial]], None]


def tuning_rows(workdir: Path) -> list[Row]:
    """Finished tuning runs (see `tune`); ValueError if the file is damaged."""
    return read_rows(workdir / FILE, ("method", "learning_rate", "seed", "accuracy", "loss"))


def tuning_seeds(trials: int) -> range:
    """Seeds of the tuning runs of every pair of rates."""
    return range(_FIRST_SEED, _FIRST_SEED + trials)


def best_rates(rows: Sequence[Row], method: str) -> Rates:
    """The rates of highest mean validation accuracy; among equals, of lowest validation loss.

    Raises:
        ValueError: no row of this method.
    """
    own = [row for row in rows if row["method"] == method]
    if not own:
        raise ValueError(f"no tuning runs of method {method!r}")

    def quality(rates: Rates) -> tuple[float, float]:
        runs = [row for row in own if Rates.of(row) == rates]
        accuracy = statistics.mean(row["accuracy"] for row in runs)
        # A diverged run has no loss.
        losses = [float("inf") if row["loss"] is None else row["loss"] for row in runs]
        return accuracy, -statistics.mean(losses)

    return max(sorted({Rates.of(row) for row in own}), key=quality)


def coarse_grid(optimizer: str, moves: bool) -> list[Place]:
    """The first places to try.

    With a trainable backbone (`moves`): three backbone rates, a decade apart, each with the same
    rate for the head and ten times that. Otherwise six head rates over more than three decades.
    """
    center = _CENTERS[optimizer]
    if moves:
        return [(center + b, center + b + ratio) for b in (-3, 0, 3) for ratio in (0, 3)]
    return [(center + h, center + h) for h in (-3, -1, 1, 3, 5, 7)]


def rates_at(place: Place) -> Rates:
    """Rates at a place; two digits, for readable file names."""
    backbone, head = (float(f"{10 ** (third / 3):.2g}") for third in place)
    return Rates(backbone, head)


def place_of(rates: Rates) -> Place:
    """The inverse of `rates_at`."""
    assert rates.backbone is not None and rates.head is not None
    return round(3 * math.log10(rates.backbone)), round(3 * math.log10(rates.head))


def nearest(best: Place, tried: Sequence[Place], count: int, moves: bool) -> list[Place]:
    """The `count` places nearest to `best` that are not in `tried`.

    A step changes both rates by the same factor, or (`moves`) their ratio. Ties: the smaller change
    of the ratio first, then the lower rates.
    """
    span = range(-CONFIGURATIONS, CONFIGURATIONS + 1)
    steps = itertools.product(span, span if moves else (0,))
    nearer = sorted(steps, key=lambda step: (step[0] ** 2 + step[1] ** 2, abs(step[1]), step))
    around = [(best[0] + both, best[1] + both + ratio) for both, ratio in nearer]
    return [place for place in around if place not in tried][:count]


def planned(config: Config, method: str, seeds: Sequence[int], rows: Sequence[Row]) -> list[Rates]:
    """The pairs of rates of a method to try so far, each with all seeds.

    Once all planned runs have a row in `rows`, more are planned, up to `CONFIGURATIONS`.
    """
    own = method_config(config, method, None, 0)
    if is_untrained(own):
        return []
    moves = not is_frozen(own)
    tried = coarse_grid(own.optimizer.name, moves)
    for count in _REFINEMENTS:
        finished = _of(rows, method, [rates_at(place) for place in tried], seeds)
        if len(finished) < len(tried) * len(seeds):
            break
        best = place_of(best_rates(finished, method))
        tried += nearest(best, tried, count, moves)
    return [rates_at(place) for place in tried]


def missing_trials(
    config: Config, rates: Mapping[str, Sequence[Rates]], seeds: Sequence[int], workdir: Path
) -> list[Trial]:
    """The planned runs that have no row yet; their folders are in `workdir/tuning`."""
    path = workdir / FILE
    done = {(row["method"], Rates.of(row), row["seed"]) for row in tuning_rows(workdir)}
    return [
        _trial(config, method, one, seed, path)
        for method, own in rates.items()
        for one in own
        for seed in seeds
        if (method, one, seed) not in done
    ]


def missing_count(config: Config, methods: Sequence[str], trials: int, workdir: Path) -> int:
    """Number of runs that `tune` has yet to make."""
    seeds, rows, missing = tuning_seeds(trials), tuning_rows(workdir), 0
    for method in methods:
        rates = planned(config, method, seeds, rows)
        if rates:
            missing += CONFIGURATIONS * trials - len(_of(rows, method, rates, seeds))
    return missing


def tune(
    config: Config, methods: Sequence[str], trials: int, workdir: Path, run: RunTrials
) -> dict[str, Rates]:
    """Run every method at `CONFIGURATIONS` pairs of rates, each with `trials` seeds, by `run`.

    Rows go to `workdir/tuning.jsonl`: method, learning_rate, head_learning_rate, seed, accuracy and
    loss (both on validation), seconds; a diverged run has accuracy 0 and loss null. `config` is
    resolved. Returns method -> rates; `UNTRAINED` for a method that takes no step.
    """
    seeds = tuning_seeds(trials)
    while True:
        rows = tuning_rows(workdir)
        rates = {method: planned(config, method, seeds, rows) for method in methods}
        missing = missing_trials(config, rates, seeds, workdir)
        if not missing:
            break
        run(missing)
    # Rows of other rates or seeds may exist, from an earlier call with more trials.
    return {
        method: best_rates(_of(rows, method, own, seeds), method) if own else UNTRAINED
        for method, own in rates.items()
    }


def _of(
    rows: Sequence[Row], method: str, rates: Sequence[Rates], seeds: Sequence[int]
) -> list[Row]:
    own = [row for row in rows if row["method"] == method and row["seed"] in seeds]
    return [row for row in own if Rates.of(row) in rates]


def _trial(config: Config, method: str, rates: Rates, seed: int, path: Path) -> Trial:
    name = f"{method}-rates{rates.backbone:g}-{rates.head:g}-seed{seed}"

    def keep(accuracy: float, loss: float | None, seconds: float) -> str:
        append_row(path, {
            "method": method, **rates.fields(), "seed": seed, "accuracy": accuracy,
            "loss": loss, "seconds": round(seconds, 2),
        })  # fmt: skip
        return f"tuning  {name}  validation accuracy {accuracy:.4f}"

    return Trial(
        method_config(config, method, rates.backbone, seed, rates.head),
        path.parent / "tuning" / name,
        lambda s: keep(s["validation_accuracy"], s["validation_loss"], s["seconds"]),
        lambda: keep(0.0, None, 0.0) + " (diverged)",
    )

"""Learning rates for each method, chosen on validation, with as many trials for one as for another.

A comparison at fixed rates mostly measures step sizes: a fresh sigmoid gate halves features, logits
and gradient. Tried are pairs of a backbone's and a head's rate out of a lattice with three values a
decade: first a coarse grid, then what is next to the best so far, twice, which goes beyond the grid
where the best lies at its edge. How many pairs that are is known in advance and the same for every
method (`CONFIGURATIONS`). Where the backbone stands still only the head's rate matters; the same
number is spent on it. Runs are rows of `tuning.jsonl`; the test split does not enter.
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
"""Pairs that are tried around the best of all before, each time."""
CONFIGURATIONS = 6 + sum(_REFINEMENTS)
"""Pairs of rates of each method: those of the coarse grid, and those around the best."""
_CENTERS = {"sgd": -4, "adamw": -12}
"""Of the coarse grid, on the lattice: 0.046 and 1e-4, one decade around which is tried."""
# Tuning must not see the final seeds: they choose other training images.
_FIRST_SEED = 1000

Row = dict[str, Any]
Place = tuple[int, int]
"""Of a pair on the lattice: backbone, head."""
RunTrials = Callable[[Sequence[Trial]], None]


def tuning_rows(workdir: Path) -> list[Row]:
    """The tuning runs of a comparison that are finished; see `tune` for what a row holds.

    Raises:
        ValueError: the file is damaged.
    """
    return read_rows(workdir / FILE, ("method", "learning_rate", "seed", "accuracy", "loss"))


def tuning_seeds(trials: int) -> range:
    """The seeds of the tuning runs of every pair of rates."""
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
        # One that diverged has no loss.
        losses = [float("inf") if row["loss"] is None else row["loss"] for row in runs]
        return accuracy, -statistics.mean(losses)

    return max(sorted({Rates.of(row) for row in own}), key=quality)


def coarse_grid(optimizer: str, moves: bool) -> list[Place]:
    """Where tuning begins.

    Args:
        optimizer: `optimizer.name`.
        moves: whether the backbone does. Three rates of it then, a decade apart, each with the same
            rate for the head and ten times that; else six of the head, over three decades and more.
    """
    center = _CENTERS[optimizer]
    if moves:
        return [(center + b, center + b + ratio) for b in (-3, 0, 3) for ratio in (0, 3)]
    return [(center + h, center + h) for h in (-3, -1, 1, 3, 5, 7)]


def rates_at(place: Place) -> Rates:
    """The rates there; two digits, to stay readable in file names."""
    backbone, head = (float(f"{10 ** (third / 3):.2g}") for third in place)
    return Rates(backbone, head)


def place_of(rates: Rates) -> Place:
    """Where rates of the lattice are."""
    assert rates.backbone is not None and rates.head is not None
    return round(3 * math.log10(rates.backbone)), round(3 * math.log10(rates.head))


def nearest(best: Place, tried: Sequence[Place], count: int, moves: bool) -> list[Place]:
    """The places around the best that were not tried, nearest first.

    A step changes both rates alike or their ratio. Of two places at the same distance the one comes
    first whose ratio is changed less, then the one with lower rates.

    Args:
        best: of those tried.
        tried: places.
        count: how many.
        moves: whether the backbone does; else both rates are the head's.
    """
    span = range(-CONFIGURATIONS, CONFIGURATIONS + 1)
    steps = itertools.product(span, span if moves else (0,))
    nearer = sorted(steps, key=lambda step: (step[0] ** 2 + step[1] ** 2, abs(step[1]), step))
    around = [(best[0] + both, best[1] + both + ratio) for both, ratio in nearer]
    return [place for place in around if place not in tried][:count]


def planned(config: Config, method: str, seeds: Sequence[int], rows: Sequence[Row]) -> list[Rates]:
    """The rates of a method that are to be tried as far as is known, each with all seeds.

    Args:
        config: of the experiment, resolved.
        method: a name in `METHODS`.
        seeds: of the tuning runs.
        rows: finished tuning runs; once there is one for all that is planned, more is, until there
            are `CONFIGURATIONS`.
    """
    own = method_config(config, method, None, 0)
    if is_untrained(own):
        return []
    moves = not is_frozen(own)
    tried = coarse_grid(own.optimizer.name, moves)
    for count in _REFINEMENTS:
        found = _of(rows, method, [rates_at(place) for place in tried], seeds)
        if len(found) < len(tried) * len(seeds):
            break
        best = place_of(best_rates(found, method))
        tried += nearest(best, tried, count, moves)
    return [rates_at(place) for place in tried]


def missing_trials(
    config: Config, rates: Mapping[str, Sequence[Rates]], seeds: Sequence[int], workdir: Path
) -> list[Trial]:
    """The runs that have no row yet.

    Args:
        config: of the experiment.
        rates: method -> its rates.
        seeds: of the runs of each pair of rates.
        workdir: of the comparison; runs are in `workdir/tuning`.
    """
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
    """How many runs `tune` is yet to make, of all methods."""
    seeds, rows, missing = tuning_seeds(trials), tuning_rows(workdir), 0
    for method in methods:
        rates = planned(config, method, seeds, rows)
        if rates:
            missing += CONFIGURATIONS * trials - len(_of(rows, method, rates, seeds))
    return missing


def tune(
    config: Config, methods: Sequence[str], trials: int, workdir: Path, run: RunTrials
) -> dict[str, Rates]:
    """Run every method at `CONFIGURATIONS` pairs of rates.

    Rows go to `workdir/tuning.jsonl`: method, learning_rate, head_learning_rate, seed, accuracy and
    loss (both on validation), seconds; of a run that diverged the accuracy is 0 and the loss null.

    Args:
        config: of the experiment, resolved.
        methods: names in `METHODS`.
        trials: seeds a pair of rates, the same for every method.
        workdir: of the comparison.
        run: runs trials, e.g. `trials.run_trials` with everything else decided.

    Returns:
        method -> rates; `UNTRAINED` for one that is not tuned, as it takes no step.
    """
    seeds = tuning_seeds(trials)
    while True:
        rows = tuning_rows(workdir)
        rates = {method: planned(config, method, seeds, rows) for method in methods}
        missing = missing_trials(config, rates, seeds, workdir)
        if not missing:
            break
        run(missing)
    # Rows of other rates or seeds, of an earlier call with more trials, say nothing here.
    return {
        method: best_rates(_of(rows, method, own, seeds), method) if own else UNTRAINED
        for method, own in rates.items()
    }


def _of(
    rows: Sequence[Row], method: str, rates: Sequence[Rates], seeds: Sequence[int]
) -> list[Row]:
    """The rows of one method at these rates and seeds."""
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

"""Rows of a comparison -> means, paired differences and intervals, as tables and a chart."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from gtn_jax.analysis.charts import dot_chart, standalone
from gtn_jax.analysis.compare import run_folder
from gtn_jax.analysis.html import Element
from gtn_jax.analysis.intervals import hierarchical_interval, paired_interval
from gtn_jax.analysis.methods import Rates
from gtn_jax.analysis.tuning import Row
from gtn_jax.runs.folder import RunFolder

Interval = tuple[float, float]


class MethodSummary(NamedTuple):
    """Results of one method; accuracies and differences are in percent.

    Attributes:
        accuracies: on test, one per seed.
        differences: to the baseline, seed by seed; empty for the baseline itself.
        interval: 95 %, of the mean difference over seeds; None for fewer than two.
        interval_with_images: 95 %, over seeds and test images; None without per-image predictions.
        rates: selected on validation.
        trained_parameters: number of trainable parameters.
        seconds: mean over runs.
        best_test_accuracy: mean over seeds of the best epoch *on test*; None if it was not watched.
    """

    method: str
    accuracies: list[float]
    differences: list[float]
    interval: Interval | None
    interval_with_images: Interval | None
    rates: Rates
    trained_parameters: int
    seconds: float
    best_test_accuracy: float | None


def baseline_of(methods: Sequence[str]) -> str:
    """The method that others are compared with: finetune, or else the first."""
    return "finetune" if "finetune" in methods else methods[0]


def summarize(rows: Sequence[Row], workdir: Path) -> list[MethodSummary]:
    """One summary per method, in the order of the rows.

    `rows` are those of `compare.final_trials`; `workdir` has the predictions of its runs.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    baseline = baseline_of(methods)
    accuracy = {(row["method"], row["seed"]): 100 * row["accuracy"] for row in rows}
    summaries = []
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        seeds = [row["seed"] for row in own if (baseline, row["seed"]) in accuracy]
        pairs = seeds if method != baseline else []
        differences = [accuracy[method, seed] - accuracy[baseline, seed] for seed in pairs]
        is_enough = len(differences) > 1
        best = [b for row in own if (b := row.get("best_test_accuracy")) is not None]
        summaries.append(
            MethodSummary(
                method,
                [accuracy[method, row["seed"]] for row in own],
                differences,
                paired_interval(differences) if is_enough else None,
                _with_images(workdir, method, baseline, pairs) if is_enough else None,
                Rates.of(own[0]),
                own[0].get("trained_parameters", own[0]["parameters"]),
                statistics.mean(row["seconds"] for row in own),
                100 * statistics.mean(best) if len(best) == len(own) else None,
            )
        )
    return summaries


def _with_images(
    workdir: Path, method: str, baseline: str, seeds: Sequence[int]
) -> Interval | None:
    our_hits, their_hits = [], []
    for seed in seeds:
        ours, theirs = (
            RunFolder(run_folder(workdir, m, seed)).predictions("test") for m in (method, baseline)
        )
        if ours is None or theirs is None or not np.array_equal(ours.files, theirs.files):
            return None
        our_hits.append(ours.predicted == ours.labels)
        their_hits.append(theirs.predicted == theirs.labels)
    low, high = hierarchical_interval(our_hits, their_hits)
    return 100 * low, 100 * high


def accuracy_table(summaries: Sequence[MethodSummary]) -> Table:
    """Methods as rows, within 80 columns: test accuracy, and its difference to the baseline.

    The intervals are of that difference, over seeds, and over seeds and test images.
    """
    baseline = baseline_of([one.method for one in summaries])
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("method", no_wrap=True)
    for column in ("accuracy %", f"- {baseline}", "95 %: seeds", "and images"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in summaries:
        table.add_row(
            one.method,
            _mean_and_deviation(one.accuracies),
            f"{statistics.mean(one.differences):+.2f}" if one.differences else "",
            _in_brackets(one.interval),
            _in_brackets(one.interval_with_images),
        )
    return table


def accuracy_chart(summaries: Sequence[MethodSummary]) -> Element | None:
    """Accuracy of every seed, a row per method."""
    return dot_chart("test accuracy %", {one.method: one.accuracies for one in summaries})


def write_chart(summaries: Sequence[MethodSummary], path: Path) -> None:
    """Write `accuracy_chart` as an .svg file; nothing if no run is finished."""
    chart = accuracy_chart(summaries)
    if chart is not None:
        path.write_text(standalone(chart), encoding="utf-8")


def cost_table(summaries: Sequence[MethodSummary]) -> Table:
    """Methods as rows, within 80 columns: runs, rates, parameters, seconds, best epoch on test."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("method", no_wrap=True)
    watched = any(one.best_test_accuracy is not None for one in summaries)
    columns = ("runs", "rate", "head rate", "trainable\nparameters", "s/run")
    for column in columns + (("best on test %",) if watched else ()):
        table.add_column(column, justify="right", no_wrap=True)
    for one in summaries:
        cells = [
            one.method,
            str(len(one.accuracies)),
            *("" if rate is None else f"{rate:g}" for rate in one.rates),
            f"{one.trained_parameters:,}",
            f"{one.seconds:.1f}",
        ]
        if watched:
            best = one.best_test_accuracy
            cells.append("" if best is None else f"{best:.2f}")
        table.add_row(*cells)
    return table


def where_time_went(rows: Sequence[Row], workdir: Path) -> str:
    """Total seconds of all runs by activity, in one line."""
    parts = dict.fromkeys(("start", "cache", "compile", "train", "evaluate", "checkpoint"), 0.0)
    for row in rows:
        summary = RunFolder(run_folder(workdir, row["method"], row["seed"])).summary() or {}
        for part in parts:
            parts[part] += summary.get(f"{part}_seconds", 0.0)
    spent = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in parts.items() if seconds)
    return f"{sum(parts.values()):.0f} s in {len(rows)} runs: {spent}"


def _mean_and_deviation(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def _in_brackets(interval: Interval | None) -> str:
    return "" if interval is None else f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"

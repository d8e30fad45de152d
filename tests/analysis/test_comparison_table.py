"""Means, paired differences and intervals by hand; tables that fit a terminal."""

import io

import numpy as np
import pytest
from rich.console import Console

from gtn_jax.analysis.comparison_table import accuracy_table, baseline_of, cost_table, summarize
from gtn_jax.config import Config
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.runs.predictions import SavedPredictions


def row(method, seed, accuracy, **more):
    return {
        "method": method, "seed": seed, "learning_rate": 0.1, "accuracy": accuracy, "seconds": 2.0,
        "parameters": 1_234_000, "trained_parameters": 1_000, **more,
    }  # fmt: skip


ROWS = [
    row("gtn", 0, 0.53), row("finetune", 0, 0.50), row("gtn", 1, 0.61), row("finetune", 1, 0.60),
]  # fmt: skip


def printed(table) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=80).print(table)
    return output.getvalue().splitlines()


def test_by_hand(tmp_path):
    gtn, finetune = summarize(ROWS, tmp_path)
    # Differences are paired: +3 and +1, so 2, between 1 and 3.
    assert gtn.differences == pytest.approx([3.0, 1.0])
    assert gtn.interval == pytest.approx((1.0, 3.0))
    assert gtn.interval_with_images is None  # no run folders here
    assert finetune.differences == [] and finetune.interval is None
    lines = [line.split() for line in printed(accuracy_table([gtn, finetune]))[1:]]
    assert lines == [
        "gtn 57.00 ± 5.66 +2.00 [+1.00, +3.00]".split(),
        "finetune 55.00 ± 7.07".split(),
    ]
    lines = [line.split() for line in printed(cost_table([gtn, finetune]))[1:]]
    assert lines[1] == ["gtn", "2", "0.1", "0.1", "1,000", "2.0"]
    assert "test" not in lines[0]


def test_rates_of_a_method_that_is_not_trained_are_left_out(tmp_path):
    rows = [
        row("linear_probe", 0, 0.5, learning_rate=None, head_learning_rate=None),
        row("finetune", 0, 0.5, head_learning_rate=0.46),
    ]
    lines = [line.split() for line in printed(cost_table(summarize(rows, tmp_path)))[1:]]
    assert lines[1] == ["linear_probe", "1", "1,000", "2.0"]
    assert lines[2] == ["finetune", "1", "0.1", "0.46", "1,000", "2.0"]


def test_baseline_is_finetune_wherever_it_stands():
    assert baseline_of(["gtn", "finetune"]) == "finetune"
    assert baseline_of(["gtn", "aux"]) == "gtn"


def test_best_on_test_has_its_own_column_or_none(tmp_path):
    rows = [row("gtn", 0, 0.5, best_test_accuracy=0.6), row("gtn", 1, 0.5, best_test_accuracy=0.7)]
    lines = [line.split() for line in printed(cost_table(summarize(rows, tmp_path)))[1:]]
    assert lines[0][-4:] == ["best", "on", "test", "%"] and lines[1][-1] == "65.00"
    # Rows that an older version wrote say nothing of it.
    mixed = summarize([*rows, row("finetune", 0, 0.5)], tmp_path)
    assert mixed[1].best_test_accuracy is None


def test_interval_over_images_comes_from_what_was_said_of_each(tmp_path):
    """Always right against right for every second of 100 images: +50, give or take the images."""
    labels = np.zeros(100, np.int32)
    files = np.array([f"{number}.png" for number in range(100)])
    half = np.arange(100, dtype=np.int32) % 2
    for method, said in (("gtn", labels), ("finetune", half)):
        for seed in (0, 1):
            folder = RunFolder(tmp_path / "runs" / f"{method}-seed{seed}")
            folder.start(Config(), ("a", "b"), Preprocessing((0.5,) * 3, (0.5,) * 3))
            chance = np.full(100, 0.5, np.float32)
            folder.finish({}, {"test": SavedPredictions(files, labels, said, chance, chance)})
    rows = [row(m, s, a) for m, a in (("gtn", 1.0), ("finetune", 0.5)) for s in (0, 1)]
    gtn, _ = summarize(rows, tmp_path)
    assert gtn.interval == (50.0, 50.0)
    assert gtn.interval_with_images is not None
    np.testing.assert_allclose(gtn.interval_with_images, (50 - 9.8, 50 + 9.8), atol=1.0)


def test_widest_rows_fit_80_columns(tmp_path):
    names = ("finetune", "finetune_frozen_start")
    rows = [row(n, s, 0.1 * (s + (n != "finetune")), best_test_accuracy=1.0) for n in names
            for s in (0, 1)]  # fmt: skip
    wide = {"learning_rate": 0.00022, "head_learning_rate": 0.00046}
    rows = [r | {"trained_parameters": 123_456_789, "seconds": 12345.6} | wide for r in rows]
    summaries = [
        one._replace(interval_with_images=(-10.123, 10.123)) for one in summarize(rows, tmp_path)
    ]
    for table in (accuracy_table(summaries), cost_table(summaries)):
        assert not [line for line in printed(table) if "…" in line or len(line) > 80]


def test_no_interval_over_images_that_are_not_the_same(tmp_path):
    """In another order, row by row, other images would be compared."""
    labels = np.zeros(4, np.int32)
    files = np.array(["a.png", "b.png", "c.png", "d.png"])
    for method, names in (("gtn", files[::-1]), ("finetune", files)):
        for seed in (0, 1):
            folder = RunFolder(tmp_path / "runs" / f"{method}-seed{seed}")
            folder.start(Config(), ("a", "b"), Preprocessing((0.5,) * 3, (0.5,) * 3))
            chance = np.full(4, 0.5, np.float32)
            folder.finish({}, {"test": SavedPredictions(names, labels, labels, chance, chance)})
    rows = [row(m, s, 0.5) for m in ("gtn", "finetune") for s in (0, 1)]
    gtn, _ = summarize(rows, tmp_path)
    assert gtn.interval == (0.0, 0.0) and gtn.interval_with_images is None

"""Grids, pairing and resuming, with training replaced by a formula; one real comparison, tiny."""

import io

import pytest
from rich.console import Console

from gtn_jax.analysis import compare as comparison
from gtn_jax.config import Config, override
from gtn_jax.training.row_file import read_rows


def silent(line: str) -> None:
    del line


@pytest.fixture
def runs(monkeypatch):
    """Stands for training: best at a rate that depends on the method; remembers what was asked."""
    asked = []

    def run(config, workdir, quiet):
        asked.append((config, workdir))
        best = {"none": 0.046, "sigmoid": 2.2}[config.model.gate]
        distance = abs(config.optimizer.learning_rate / best - 1)
        accuracy = 0.9 - 0.1 * min(distance, 5) + 0.001 * (config.seed % 10)
        return {
            "seconds": 1.0,
            "compile_seconds": 0.25,
            "validation_accuracy": accuracy,
            "validation_loss": distance,
            "test_accuracy": accuracy - 0.1,
            "parameters": 1234,
        }

    monkeypatch.setattr(comparison, "run", run)
    return asked


def test_grid_has_five_rates_over_two_decades():
    assert len(comparison.RATES) >= 5
    assert comparison.RATES[-1] / comparison.RATES[0] >= 100


def test_tuning_finds_each_methods_rate_and_extends_the_grid(runs, tmp_path):
    rows = comparison.tune(Config(), ["finetune", "gtn"], 2, tmp_path, silent)
    assert comparison.best_rate(rows, "finetune") == 0.046
    # 1.0 was the edge: the grid went on to 2.2 and, to see it fall, 4.7.
    assert comparison.best_rate(rows, "gtn") == 2.2
    tried = {m: sorted({r["learning_rate"] for r in rows if r["method"] == m})
             for m in ("finetune", "gtn")}  # fmt: skip
    assert tried["finetune"] == list(comparison.RATES)
    assert tried["gtn"] == [*comparison.RATES, 2.2, 4.7]
    assert {row["seed"] for row in rows} == {1000, 1001}
    assert rows == read_rows(tmp_path / "tuning.jsonl")


def test_extension_downwards():
    rows = [{"method": "gtn", "learning_rate": r, "accuracy": 1 - r, "loss": r}
            for r in comparison.RATES]  # fmt: skip
    assert comparison._extension(rows, "gtn") == [0.0046]


def test_equal_accuracy_is_decided_by_loss():
    rows = [
        {"method": "gtn", "learning_rate": rate, "accuracy": 0.5, "loss": loss}
        for rate, loss in [(0.01, 1.0), (0.1, 0.5), (1.0, 2.0)]
    ]
    assert comparison.best_rate(rows, "gtn") == 0.1
    with pytest.raises(ValueError, match="no tuning runs of method 'aux'"):
        comparison.best_rate(rows, "aux")


def test_finished_runs_are_not_run_again(runs, tmp_path):
    rates = {"finetune": 0.046, "gtn": 0.47}
    first = comparison.compare(Config(), rates, range(2), tmp_path, silent)
    assert len(runs) == 4
    assert comparison.compare(Config(), rates, range(3), tmp_path, silent)[:4] == first
    assert len(runs) == 6
    config, workdir = runs[-1]
    assert workdir == tmp_path / "runs" / "gtn-seed2"
    assert config == override(Config(), {"optimizer.learning_rate": 0.47, "seed": 2})
    assert set(first[0]) == {
        "method", "seed", "learning_rate", "accuracy", "seconds", "parameters"
    }  # fmt: skip
    assert first[0]["seconds"] == 1.0


def test_methods_share_everything_but_gate_and_auxiliary_head():
    for values in comparison.METHODS.values():
        assert set(values) <= {"model.gate", "model.aux_weight"}


def test_impossible_comparisons_are_refused_first(tiny_config, tmp_path):
    with pytest.raises(ValueError, match="unknown method 'gtm'; did you mean gtn"):
        comparison.check(tiny_config, ["finetune", "gtm"], 2, tmp_path)
    with pytest.raises(ValueError, match="--seeds: 0"):
        comparison.check(tiny_config, ["finetune"], 0, tmp_path)
    without = override(tiny_config, {"model.aux_weight": 0.0})
    with pytest.raises(ValueError, match="method gtn needs model.aux_weight"):
        comparison.check(without, ["gtn"], 2, tmp_path)
    assert list(tmp_path.iterdir()) == []
    comparison.check(tiny_config, ["gtn"], 2, tmp_path)
    with pytest.raises(ValueError, match="training.epochs: 4 -> 9"):
        comparison.check(override(tiny_config, {"training.epochs": 9}), ["gtn"], 2, tmp_path)


def test_data_without_test_split_is_refused(tiny_config, tmp_path, monkeypatch):
    parts = {"train": None, "validation": None}
    monkeypatch.setattr(comparison, "choose", lambda splits, data, seed: parts)
    with pytest.raises(ValueError, match="digits has no test split"):
        comparison.check(tiny_config, ["gtn"], 2, tmp_path)


def test_table_by_hand():
    rows = [
        {"method": method, "seed": seed, "learning_rate": 0.1, "accuracy": accuracy,
         "seconds": 2.0, "parameters": 1_234_000}
        for method, seed, accuracy in [
            ("finetune", 0, 0.50), ("gtn", 0, 0.53), ("finetune", 1, 0.60), ("gtn", 1, 0.61),
        ]
    ]  # fmt: skip
    output = io.StringIO()
    Console(file=output, width=80).print(comparison.comparison_table(rows))
    finetune, gtn = (line.split() for line in output.getvalue().splitlines()[1:])
    # Differences are paired: +3 and +1, so 2 with sd sqrt(2), not the sd of the accuracies.
    assert finetune == ["finetune", *"55.00 ± 7.07 2 0.1 1,234,000 2.0".split()]
    assert gtn == ["gtn", *"57.00 ± 5.66 +2.00 ± 1.41 2 0.1 1,234,000 2.0".split()]


def test_seed_pairs_methods_for_real(tiny_config, tmp_path):
    """Two methods, one seed: the same training images, and rows that match the run folders."""
    config = override(tiny_config, {"training.epochs": 1, "data.batch_size": 40})
    rates = {"finetune": 0.01, "gtn": 0.01}
    rows = comparison.compare(config, rates, [0], tmp_path, silent)
    assert [row["method"] for row in rows] == ["finetune", "gtn"]
    assert rows[1]["parameters"] > rows[0]["parameters"]
    for method in rates:
        assert (tmp_path / "runs" / f"{method}-seed0" / "summary.json").is_file()

"""The grid of rates, its extension, and what is best on it, with training replaced by a formula."""

import pytest

from gtn_jax.analysis import tuning
from gtn_jax.config import Config
from gtn_jax.training.row_file import read_rows


def by_formula(asked: list):
    """Stands for training: best at a rate that depends on the gate; remembers what was asked."""

    def run(trials):
        for trial in trials:
            asked.append(trial)
            config = trial.config
            best = {"none": 0.046, "sigmoid": 2.2}[config.model.gate]
            distance = abs(config.optimizer.learning_rate / best - 1)
            accuracy = 0.9 - 0.1 * min(distance, 5) + 0.001 * (config.seed % 10)
            if config.optimizer.learning_rate > 4:
                assert "(diverged)" in trial.diverged()
                continue
            trial.finish(
                {"validation_accuracy": accuracy, "validation_loss": distance, "seconds": 1.0}
            )

    return run


def test_grid_has_five_rates_over_two_decades():
    assert len(tuning.RATES) >= 5
    assert tuning.RATES[-1] / tuning.RATES[0] >= 100


def test_each_methods_rate_is_found_and_the_grid_extended(tmp_path):
    asked: list = []
    rates = tuning.tune(Config(), ["finetune", "gtn"], 2, tmp_path, by_formula(asked))
    # 1.0 was the edge: the grid went on to 2.2 and, to see it fall, 4.7, where it diverges.
    assert rates == {"finetune": 0.046, "gtn": 2.2}
    rows = read_rows(tmp_path / "tuning.jsonl")
    tried = {m: sorted({r["learning_rate"] for r in rows if r["method"] == m}) for m in rates}
    assert tried["finetune"] == list(tuning.RATES)
    assert tried["gtn"] == [*tuning.RATES, 2.2, 4.7]
    assert {row["seed"] for row in rows} == {1000, 1001}
    assert [row["loss"] for row in rows if row["learning_rate"] == 4.7] == [None, None]
    assert len(asked) == len(rows) == 2 * 7 + 2 * 9
    # All is there: nothing is asked for again, and the answer is the same.
    assert tuning.tune(Config(), ["finetune", "gtn"], 2, tmp_path, by_formula(asked)) == rates
    assert len(asked) == len(rows)


def test_rates_of_the_grid_follow_each_other():
    rows = [{"method": "gtn", "learning_rate": r, "accuracy": 1 - r, "loss": r}
            for r in tuning.RATES]  # fmt: skip
    assert tuning.following_rate(rows, "gtn") == 0.0046
    assert (
        tuning.following_rate([row | {"accuracy": -row["accuracy"]} for row in rows], "gtn") == 2.2
    )
    middle = [row | {"accuracy": -abs(row["learning_rate"] - 0.1)} for row in rows]
    assert tuning.following_rate(middle, "gtn") is None
    furthest = [
        {"method": "gtn", "learning_rate": r, "accuracy": r, "loss": 0.0} for r in (4.6, 10.0)
    ]
    assert tuning.following_rate(furthest, "gtn") is None


def test_equal_accuracy_is_decided_by_loss_and_what_diverged_is_last():
    rows = [
        {"method": "gtn", "learning_rate": rate, "accuracy": 0.5, "loss": loss}
        for rate, loss in [(0.01, 1.0), (0.1, 0.5), (1.0, None)]
    ]
    assert tuning.best_rate(rows, "gtn") == 0.1
    assert tuning.best_rate(rows[::2], "gtn") == 0.01
    with pytest.raises(ValueError, match="no tuning runs of method 'aux'"):
        tuning.best_rate(rows, "aux")


def test_a_rate_is_as_good_as_its_seeds_on_average():
    """0.9 and 0.5 are worse than 0.8 twice, though the best of all is among them."""
    rows = [
        {"method": "gtn", "learning_rate": rate, "seed": seed, "accuracy": accuracy, "loss": 1.0}
        for rate, both in [(0.01, (0.9, 0.5)), (0.1, (0.8, 0.8)), (1.0, (0.75, 0.84))]
        for seed, accuracy in enumerate(both)
    ]
    assert tuning.best_rate(rows, "gtn") == 0.1

"""Which pairs of rates are tried, and what is best of them, with training replaced by a formula."""

import math

import pytest

from gtn_jax.analysis import tuning
from gtn_jax.analysis.methods import Rates
from gtn_jax.config import Config, override
from gtn_jax.config.experiment import shipped_folder
from gtn_jax.runs.row_file import append_row, read_rows


def by_formula(asked: list):
    """Stands for training: best at rates that depend on the gate; remembers what was asked."""

    def run(trials):
        for trial in trials:
            asked.append(trial)
            config = trial.config
            best = {"none": (0.022, 0.22), "sigmoid": (2.2, 22.0)}[config.model.gate]
            distances = [
                abs(math.log10(rate / wanted))
                for rate, wanted in zip(config.optimizer.rates, best, strict=True)
            ]
            accuracy = 0.9 - 0.1 * sum(distances) + 0.001 * (config.seed % 10)
            if config.optimizer.learning_rate > 4:
                assert "(diverged)" in trial.diverged()
                continue
            trial.finish(
                {"validation_accuracy": accuracy, "validation_loss": 1 - accuracy, "seconds": 1.0}
            )

    return run


def row(rates, accuracy, loss=1.0, seed=1000, method="gtn"):
    fields = Rates(*rates).fields()
    return {"method": method, **fields, "seed": seed, "accuracy": accuracy, "loss": loss}


@pytest.mark.parametrize(
    ("optimizer", "moves", "wanted"),
    [
        ("sgd", True, [(0.0046, 0.0046), (0.0046, 0.046), (0.046, 0.046), (0.046, 0.46),
                       (0.46, 0.46), (0.46, 4.6)]),
        ("adamw", True, [(1e-5, 1e-5), (1e-5, 1e-4), (1e-4, 1e-4), (1e-4, 1e-3), (1e-3, 1e-3),
                         (1e-3, 1e-2)]),
        ("sgd", False, [(r, r) for r in (0.0046, 0.022, 0.1, 0.46, 2.2, 10.0)]),
        ("adamw", False, [(r, r) for r in (1e-5, 4.6e-5, 2.2e-4, 1e-3, 4.6e-3, 0.022)]),
    ],
)  # fmt: skip
def test_coarse_grids(optimizer, moves, wanted):
    places = tuning.coarse_grid(optimizer, moves)
    assert [tuning.rates_at(place) for place in places] == wanted
    assert [tuning.place_of(Rates(*rates)) for rates in wanted] == places


def test_what_is_next_to_the_best():
    # Both rates lower, both higher, the head's alone.
    assert tuning.nearest((0, 3), [(0, 3)], 4, True) == [(-1, 2), (1, 4), (0, 2), (0, 4)]
    # Of a best that has moved, first further on.
    tried = [(0, 3), (-1, 2), (1, 4), (0, 2), (0, 4)]
    assert tuning.nearest((1, 4), tried, 3, True) == [(2, 5), (1, 3), (1, 5)]
    # With all four tried, both at once.
    assert tuning.nearest((0, 3), tried, 2, True) == [(-1, 1), (-1, 3)]
    # A backbone that stands still: one rate.
    assert tuning.nearest((3, 3), [(1, 1), (3, 3)], 4, False) == [(2, 2), (4, 4), (5, 5), (0, 0)]


def test_every_method_has_as_many_trials(tmp_path):
    asked: list = []
    methods = ["finetune", "gtn", "linear_probe"]
    assert tuning.missing_count(Config(), methods, 2, tmp_path) == 3 * 12 * 2
    rates = tuning.tune(Config(), methods, 2, tmp_path, by_formula(asked))
    rows = read_rows(tmp_path / "tuning.jsonl")
    assert len(asked) == len(rows) == 3 * 12 * 2
    tried = {m: list(dict.fromkeys(Rates.of(r) for r in rows if r["method"] == m)) for m in methods}
    assert {name: len(own) for name, own in tried.items()} == dict.fromkeys(methods, 12)
    # By hand: around (0.046, 0.46), and then around what is best of these, the first.
    assert tried["finetune"][6:] == [
        (0.022, 0.22), (0.1, 1.0), (0.046, 0.22), (0.046, 1.0), (0.01, 0.1), (0.022, 0.1)
    ]  # fmt: skip
    assert rates["finetune"] == (0.022, 0.22)
    # From the edge of the grid outwards, twice: 0.46, 1.0, 2.2.
    assert tried["gtn"][6:] == [
        (0.22, 2.2), (1.0, 10.0), (0.46, 2.2), (0.46, 10.0), (2.2, 22.0), (1.0, 4.6)
    ]  # fmt: skip
    assert rates["gtn"] == (2.2, 22.0)
    # Of a backbone that stands still only the head's rate matters: 12 of that.
    assert all(one.backbone == one.head for one in tried["linear_probe"])
    assert [r["loss"] for r in rows if Rates.of(r) == (10.0, 10.0)] == [None, None]
    assert {row["seed"] for row in rows} == {1000, 1001}
    # All is there: nothing is asked for again, and the answer is the same.
    assert tuning.tune(Config(), methods, 2, tmp_path, by_formula(asked)) == rates
    assert tuning.missing_count(Config(), methods, 2, tmp_path) == 0
    assert len(asked) == len(rows)
    # One seed is a part of two.
    again = tuning.tune(Config(), methods[:1], 1, tmp_path, by_formula(asked))
    assert again["finetune"] == (0.022, 0.22) and len(asked) == len(rows)


def test_interrupted_tuning_goes_on_with_what_is_missing(tmp_path):
    whole, partly, path = [], [], tmp_path / "part" / tuning.FILE
    for folder in (path.parent, tmp_path / "whole"):
        folder.mkdir()
    rates = tuning.tune(Config(), ["finetune"], 1, tmp_path / "whole", by_formula(whole))
    for kept in read_rows(tmp_path / "whole" / tuning.FILE)[:8]:
        append_row(path, kept)
    assert tuning.missing_count(Config(), ["finetune"], 1, path.parent) == 4
    assert tuning.tune(Config(), ["finetune"], 1, path.parent, by_formula(partly)) == rates
    assert [t.config for t in partly] == [t.config for t in whole[8:]]


def test_a_row_of_an_older_version_has_one_rate_for_both(tmp_path):
    for rate in (0.046, 0.047):
        old = row((rate, rate), 0.9, method="finetune")
        del old["head_learning_rate"]
        append_row(tmp_path / tuning.FILE, old)
    asked: list = []
    found = tuning.tune(Config(), ["finetune"], 1, tmp_path, by_formula(asked))
    # The one is a trial that need not be run; the other is none of this tuning.
    assert len(asked) == 11
    assert found["finetune"] == (0.046, 0.046)


def test_what_takes_no_step_is_not_tuned(tmp_path):
    config = override(Config(), {"model.weights": "tiny_imagenet"})
    asked: list = []
    rates = tuning.tune(config, ["linear_probe"], 2, tmp_path, by_formula(asked))
    assert rates == {"linear_probe": (None, None)} and asked == []
    assert tuning.missing_count(config, ["linear_probe"], 2, tmp_path) == 0


def test_equal_accuracy_is_decided_by_loss_and_what_diverged_is_last():
    rows = [
        row((rate, 10 * rate), 0.5, loss) for rate, loss in [(0.01, 1.0), (0.1, 0.5), (1.0, None)]
    ]
    assert tuning.best_rates(rows, "gtn") == (0.1, 1.0)
    assert tuning.best_rates(rows[::2], "gtn") == (0.01, 0.1)
    with pytest.raises(ValueError, match="no tuning runs of method 'aux'"):
        tuning.best_rates(rows, "aux")


def test_rates_are_as_good_as_their_seeds_on_average():
    """0.9 and 0.5 are worse than 0.8 twice, though the best of all is among them."""
    rows = [
        row(rates, accuracy, seed=seed)
        for rates, both in [
            ((0.1, 0.01), (0.9, 0.5)), ((0.1, 0.1), (0.8, 0.8)), ((0.1, 1.0), (0.75, 0.84))
        ]
        for seed, accuracy in enumerate(both)
    ]  # fmt: skip
    assert tuning.best_rates(rows, "gtn") == (0.1, 0.1)


def test_shipped_rows_give_the_rates_of_the_quickstart():
    rows = read_rows(shipped_folder() / "quickstart_tuning.jsonl")
    found = {m: tuning.best_rates(rows, m) for m in ("finetune", "gtn", "gtn_identity")}
    # The table in experiments/quickstart.py.
    same = (0.001, 0.00046)
    assert found == {"finetune": same, "gtn": same, "gtn_identity": (0.001, 0.022)}

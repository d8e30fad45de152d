"""How long a run takes, by hand; and one that gets as many steps as fit."""

import time

import pytest

from gtn_jax.config import Config, override
from gtn_jax.runs.folder import RunFolder
from gtn_jax.training import start
from gtn_jax.training.dry_run import dry_run
from gtn_jax.training.duration import (
    Pace,
    Timing,
    Work,
    fitting_steps,
    format_seconds,
    plan,
    work_after,
)
from gtn_jax.training.loop import run
from gtn_jax.training.resolution import adopt, evaluations_after, is_evaluation_due, resolve

PACE = Pace({(False, False): Timing(5.0, 2.0), (True, False): Timing(3.0, 0.5)}, Timing(1.0, 0.25))


def work(step: int | None = None, **fields) -> Work:
    values = {"training.epochs": 3, "data.eval_batch_size": 10} | fields
    config = override(Config(), {name.replace("__", "."): v for name, v in values.items()})
    sizes = {"train": 80, "validation": 15, "test": 21}
    return work_after(config, 8, sizes, "validation", step)


def test_what_is_to_do():
    # 15 images are 2 batches, 21 are 3: three evaluations, and both splits at the end.
    assert work() == Work({(False, False): 24}, 3, 3 * 2 + 5)
    assert work(training__watch_test=True).batches == 3 * 5 + 5
    assert work(training__head_start="solved").evaluations == 4  # before the first step, too
    assert work(10, training__head_start="solved") == Work({(False, False): 14}, 2, 2 * 2 + 5)
    frozen = work(training__freeze_epochs=1, data__small_image_epochs=2)
    assert frozen.steps == {(True, True): 8, (False, True): 8, (False, False): 8}
    cached = work(training__freeze_epochs=1, data__feature_cache_views=2)
    assert cached.steps == {(False, False): 16}
    assert work(24).steps == {}


def test_seconds():
    found = work(training__freeze_epochs=1).seconds(PACE)
    assert found == 8 * 0.5 + 16 * 2.0 + 11 * 0.25


def test_evaluations_are_counted_as_they_are_due():
    for every, total in [(3, 11), (3, 12), (20, 7), (1, 4)]:
        config = override(Config(), {"training.eval_every_steps": every})
        for step in range(total):
            due = [is_evaluation_due(at, total, 5, config) for at in range(step + 1, total + 1)]
            assert evaluations_after(step, total, 5, config) == sum(due)


def test_as_many_steps_as_fit():
    assert fitting_steps(100, 30.0, lambda steps: 10 + 2 * steps) == 10
    assert fitting_steps(7, 30.0, lambda steps: 10 + 2 * steps) == 7
    assert fitting_steps(100_000, 11.0, lambda steps: 10 + 2 * steps) == 0


def test_another_length_compiles_again():
    def of(left: float) -> int:
        deadline = time.monotonic() + left
        return plan(deadline, 50, PACE, lambda n: Work({(False, False): n}, 0, 0), True).steps

    assert of(120.0) == 50  # 100 s, compiled
    assert of(100.0) == 42  # 93 s of it planned: less 8 s, 2 s each
    assert of(1.0) == 0
    with pytest.raises(ValueError, match="not one step fits: 1 s are left, and one takes 10 s"):
        plan(time.monotonic() + 1, 50, PACE, lambda n: Work({(False, False): n}, 0, 0), False)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (89.2, "90 s"),
        (157, "2 min 40 s"),
        (181, "3 min"),
        (599, "10 min"),
        (4780, "80 min"),
        (6000, "1 h 40 min"),
    ],
)
def test_format_seconds(seconds, words):
    assert format_seconds(seconds) == words


def test_a_cap_and_what_is_there():
    auto = override(Config(), {"training.epochs": "auto"})
    asked = override(Config(), {"training.epochs": 4})
    for config in (auto, asked):
        kept = resolve(config, 100, 32, 3, most_steps=5)
        assert (kept.training.steps, kept.training.epochs) == (5, 2)
        assert resolve(config, 100, 32, 3, most_steps=10**6) == resolve(config, 100, 32, 3)
        assert adopt(config, kept, is_budgeted=True) == kept
    assert adopt(asked, kept) == asked
    shorter = override(asked, {"training.epochs": 1})
    assert adopt(shorter, kept, is_budgeted=True) == shorter


def test_a_run_within_a_budget(tiny_config, tiny_weights, tmp_path, monkeypatch, capsys):
    config = override(tiny_config, {
        "model.weights": tiny_weights, "training.head_start": "solved", "training.epochs": "auto",
        "training.freeze_epochs": 0, "data.random_flip": True,
    })  # fmt: skip
    measure, workdir = start.measure, tmp_path / "run"

    def slow(*arguments):
        found = measure(*arguments)  # on a copy of what is trained
        assert found.steps[False, False].seconds > 0 and found.evaluation.seconds > 0
        return Pace({(False, False): Timing(0.0, 1000.0)}, Timing(0.0, 0.0))

    monkeypatch.setattr(start, "measure", slow)
    summary = run(config, workdir, budget_minutes=40)
    said = capsys.readouterr().out
    # 40 min are 2,400 s, of which 93 % are planned: two steps of 1,000 s.
    assert summary["steps"] == 2
    assert "budget  2 of 100 steps fit\ntime    about 33 min: 2 steps, 3 evaluations" in said
    training = RunFolder(workdir).config().training
    assert (training.steps, training.epochs, training.eval_every_steps) == (2, 1, 1)
    assert run(config, workdir, budget_minutes=1) == summary
    assert "budget  ignored: " in capsys.readouterr().out


def test_a_dry_run_says_how_long(tiny_config, tmp_path):
    config = override(tiny_config, {
        "training.epochs": "auto", "training.freeze_epochs": 0, "training.eval_every_steps": 40,
    })  # fmt: skip
    said = list(dry_run(config, tmp_path / "run", devices=1))
    (steps,) = (line for line in said if line.startswith("steps"))
    assert steps == "steps   100, 5 an epoch; 3 evaluations"
    (announced,) = (line for line in said if line.startswith("time"))
    assert announced.endswith(": 100 steps, 3 evaluations")


def test_no_time_at_all(experiment, tmp_path, cli_refuses):
    words = ["train", experiment, "--workdir", str(tmp_path / "x"), "--budget-minutes", "0"]
    cli_refuses(*words, says="--budget-minutes: 0; expected more than 0", code=2)

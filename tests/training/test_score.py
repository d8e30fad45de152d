"""What selects, and when a run ends early: the rule, runs that it ends, and runs interrupted."""

import pytest

from gtn_jax.config import override
from gtn_jax.runs.folder import RunFolder
from gtn_jax.training import loop
from gtn_jax.training.score import is_as_good, is_stale, score, scores_until


@pytest.mark.parametrize(
    ("scores", "patience", "expected"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),  # as good is no better
        ([0.5, 0.6], 1, False),
        ([0.5, 0.6, 0.4], 2, False),
        ([0.5, 0.6, 0.4, 0.6], 2, True),
        ([0.5, 0.4, 0.4, 0.6], 3, False),
        ([0.9, 0.1, 0.1, 0.1], 0, False),
    ],
)
def test_rule(scores, patience, expected):
    assert is_stale(scores, patience) is expected


def test_rows_of_what_was_undone_do_not_count():
    rows = [
        {"step": step, "split": split, "accuracy": step / 10, "loss": 1.0, "images": 50}
        for step in (1, 2, 3)
        for split in ("train", "validation")
    ]
    assert scores_until(rows, "validation", 2) == [0.1, 0.2]


def test_few_images_are_judged_by_their_loss():
    figures = {"accuracy": 0.8, "loss": 0.5}
    assert score(figures | {"images": 50}) == 0.8
    assert score(figures | {"images": 49}) == -0.5
    assert score(figures | {"images": 50, "loss": float("nan")}) is None
    assert score(figures | {"images": 999}, few=1000) == -0.5
    assert score(figures | {"images": 999}, few=1000, floor=0.8) == -0.5
    assert score(figures | {"images": 999}, few=1000, floor=0.81) is None


@pytest.mark.parametrize(
    ("accuracy", "loss", "floor", "expected"),
    [
        (0.76, 9.0, 0.0, True),  # the standard error of 0.8 of 100 images is 0.04
        (0.755, 0.1, 0.0, False),
        (0.79, 0.1, 0.795, False),
        (0.9, float("nan"), 0.0, False),
    ],
)
def test_the_last_counts_unless_it_is_worse_beyond_chance(accuracy, loss, floor, expected):
    later, best = {"accuracy": accuracy, "loss": loss}, {"accuracy": 0.8, "images": 100}
    assert is_as_good(later, best, floor) is expected


class Stopped(Exception):
    """Raised where a process would be killed."""


@pytest.fixture
def hopeless(tiny_config):
    """A rate so low that no evaluation differs from the first."""
    return override(tiny_config, {
        "training.epochs": 8, "training.early_stopping_patience": 2,
        "optimizer.learning_rate": 1e-12, "training.frozen_batch_norm": "running",
        "training.freeze_epochs": 8,
    })  # fmt: skip


@pytest.mark.parametrize(
    "where", ["put_batch", pytest.param("evaluate_selected", marks=pytest.mark.slow)]
)
def test_stops_and_does_not_go_on_when_resumed(hopeless, tmp_path, monkeypatch, where):
    """Three evaluations, the last two no better: 15 of 40 steps. Also if killed at step 13, or
    after the last one, before the summary."""
    honest, calls = getattr(loop, where), iter(range(100))

    def dies(*arguments):
        if next(calls) == (13 if where == "put_batch" else 0):
            raise Stopped
        return honest(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(loop, where, dies)
        with pytest.raises(Stopped):
            loop.run(hopeless, tmp_path / "run", quiet=True, devices=1)
    summary = loop.run(hopeless, tmp_path / "run", quiet=True, devices=1)
    assert summary["steps"] == 15
    rows = RunFolder(tmp_path / "run").rows()
    assert [row["step"] for row in rows if row["split"] == "validation"] == [5, 10, 15]


def test_needs_something_to_watch(tiny_config):
    with pytest.raises(ValueError, match="training.early_stopping_patience: invalid value 2"):
        override(tiny_config, {"training.early_stopping_patience": 2, "training.select": "last"})

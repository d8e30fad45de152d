"""Which step counts, and what a run cost, from made-up evaluations and clocks."""

import types
from typing import Any

import pytest

from gtn_jax.config import Config
from gtn_jax.training import selection
from gtn_jax.training.clock import Clock


@pytest.mark.parametrize(("counted", "speed"), [(100, 50.0), (0, None)])
def test_speed_is_of_images(monkeypatch, counted, speed):
    """Two seconds of training; where all of them were steps on features there is no such speed."""
    monkeypatch.setattr(selection, "trainable_parameters", lambda *_: 3)
    state: Any = types.SimpleNamespace(parameters=7, params={})
    clock = Clock({"train": 2.0, "compile": 5.0})
    found = selection.costs(Config(), state, counted, clock)
    assert found["images_per_second"] == speed
    assert (found["seconds"], found["train_seconds"]) == (7.0, 2.0)


@pytest.mark.parametrize(
    ("last", "head", "step", "expected"),
    [
        (0.77, {}, 4, 4),  # 0.8 of 100 images: a standard error of 0.04
        (0.75, {}, 4, 2),
        (0.762, {}, 4, 2),  # within the error, but less accurate than the solved classifier
        (0.77, None, 4, 2),
        (0.77, {}, 3, 2),  # a run that ended early
    ],
)
def test_the_last_step_after_a_solved_start(monkeypatch, last, head, step, expected):
    evaluation: Any = types.SimpleNamespace(figures={"accuracy": 0.5})
    monkeypatch.setattr(selection, "evaluate_images", lambda *_: evaluation)
    monkeypatch.setattr(selection, "predictions_of", lambda *_: None)
    state: Any = types.SimpleNamespace(variables={})
    checkpoints: Any = types.SimpleNamespace(best_step=lambda: 2, restore=lambda *_: (state, {}))
    setup = types.SimpleNamespace(config=Config(), total_steps=4)
    start: Any = types.SimpleNamespace(
        setup=setup, head=head, images={"validation": ()}, checkpoints=checkpoints
    )
    rows = [
        {"step": at, "split": "validation", "accuracy": accuracy, "loss": 1.0, "images": 100}
        for at, accuracy in ((0, 0.765), (2, 0.8), (step, last))
    ]
    found, _ = selection.evaluate_selected(start, state, step, rows)
    assert (found["selected_step"], found["validation_accuracy"]) == (expected, 0.5)

"""What a run cost, from made-up clocks."""

import types
from typing import Any

import pytest

from gtn_jax.config import Config
from gtn_jax.training import selection


@pytest.mark.parametrize(("counted", "speed"), [(100, 50.0), (0, None)])
def test_speed_is_of_images(monkeypatch, counted, speed):
    """Two seconds of training; where all of them were steps on features there is no such speed."""
    monkeypatch.setattr(selection, "trained_parameters", lambda *_: 3)
    state: Any = types.SimpleNamespace(parameters=7, params={})
    optimizer: Any = None
    found = selection.costs(Config(), optimizer, state, counted, {"train": 2.0, "compile": 5.0})
    assert found["images_per_second"] == speed
    assert (found["seconds"], found["train_seconds"]) == (7.0, 2.0)

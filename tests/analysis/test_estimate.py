"""Seconds of a comparison, from made-up costs by hand, and from a real probe."""

import pytest

from gtn_jax.analysis.estimate import Costs, probe, run_seconds, total_seconds
from gtn_jax.analysis.trials import choose_devices
from gtn_jax.config import Config, TrainingConfig, override

COSTS = Costs(start=1.0, compile=20.0, step=0.5, evaluation=3.0, checkpoint=0.25, steps_per_epoch=4)
CONFIG = Config(training=TrainingConfig(epochs=10, freeze_epochs=5, eval_every_epochs=2))


def test_by_hand():
    # 5 evaluations with a save each: 16.25; 5 epochs of 2 s, and 5 of 0.6 s.
    assert run_seconds(CONFIG, COSTS) == pytest.approx(1 + 16.25 + 10 + 3)
    official = override(CONFIG, {"training.freeze_mode": "zero_lr"})
    assert run_seconds(official, COSTS) == pytest.approx(1 + 16.25 + 20)
    cached = override(CONFIG, {"data.feature_cache_views": 2})
    assert run_seconds(cached, COSTS) == pytest.approx(1 + 16.25 + 10 + 1.2)
    whole = override(cached, {"training.freeze_epochs": 10})
    assert run_seconds(whole, COSTS) == pytest.approx(1 + 16.25 + 20)
    # By steps: the same 40, evaluated every 8.
    steps = {"training.steps": 40, "training.epochs": 10, "training.eval_every_steps": 8}
    assert run_seconds(override(CONFIG, steps), COSTS) == pytest.approx(1 + 16.25 + 10 + 3)
    # Solved classifiers are evaluated before the first step; they may be all there is.
    solved = override(CONFIG, {"training.head_start": "solved"})
    assert run_seconds(solved, COSTS) == pytest.approx(1 + 19.5 + 10 + 3)
    probe = override(solved, {"training.epochs": 0, "training.freeze_epochs": 0})
    assert run_seconds(probe, COSTS) == pytest.approx(1 + 3.25)
    assert total_seconds([CONFIG] * 4, COSTS, 2, 2) == pytest.approx(2 * 30.25 + 40)


def test_probe_leaves_nothing_behind(tiny_config, tmp_path):
    in_steps = {"training.steps": 1000, "training.eval_every_steps": 7}
    costs = probe(override(tiny_config, in_steps), tmp_path, choose_devices(1)[0])
    assert list(tmp_path.iterdir()) == []
    assert costs.steps_per_epoch == 5
    assert min(costs[:5]) > 0

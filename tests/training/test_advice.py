"""What is said of a run that learns little; and such runs, and images too few to choose by."""

import numpy as np
import pytest

from gtn_jax.config import Config, override
from gtn_jax.training import setup
from gtn_jax.training.advice import few_steps, near_chance
from gtn_jax.training.loop import run

WITH_WEIGHTS = override(Config(), {"model.weights": "w.safetensors"})
SOLVED = override(WITH_WEIGHTS, {"training.head_start": "solved"})


def test_few_steps():
    assert few_steps(WITH_WEIGHTS, 100) is None and few_steps(SOLVED, 10) is None
    line = few_steps(WITH_WEIGHTS, 60)
    assert line is not None and "--training.head_start solved" in line
    line = few_steps(Config(), 60)
    assert line is not None and "head_start" not in line and "--training.steps 200" in line


def test_near_chance():
    """Of 100 images and four classes, two deviations above 25 % are 33.7 %."""
    assert near_chance(0.34, 100, 4, WITH_WEIGHTS) is None
    line = near_chance(0.33, 100, 4, WITH_WEIGHTS)
    assert line is not None
    assert line.startswith("answers are near chance, 25.0 %; --training.head_start solved")
    assert "--find-lr" in str(near_chance(0.33, 100, 4, SOLVED))
    assert near_chance(1.0, 2, 2, SOLVED) is None and near_chance(0.5, 2, 2, SOLVED) is None


@pytest.fixture
def parts(monkeypatch):
    """parts(CHANGE): runs see the splits of digits as CHANGE(part name, part) leaves them."""
    honest = setup.choose

    def install(change):
        def choose(*arguments):
            found = {name: change(name, part) for name, part in honest(*arguments).items()}
            return {name: part for name, part in found.items() if part is not None}

        monkeypatch.setattr(setup, "choose", choose)

    return install


@pytest.fixture(scope="module")
def probe(tiny_config, tiny_weights):
    return override(tiny_config, {
        "model.weights": tiny_weights, "training.head_start": "solved", "training.epochs": 0,
        "training.freeze_epochs": 0, "training.select": "val",
    })  # fmt: skip


def test_no_validation_images(probe, parts, tmp_path, capsys):
    parts(lambda name, part: None if name == "validation" else part)
    summary = run(probe, tmp_path / "run")
    assert (summary["selected_on"], summary["selected_step"]) == (None, 0)
    assert "note    no validation images: the last step counts" in capsys.readouterr().out


def test_one_validation_image_and_a_class_of_one(probe, parts, tmp_path):
    """Of class 0 one image trains; the only one of validation chooses, by its loss."""

    def change(name, part):
        if name == "validation":
            return part.only(np.array([0]))
        first = np.flatnonzero(part.labels == 0)[0]
        return part.only((part.labels != 0) | (np.arange(len(part.labels)) == first))

    parts(change)
    summary = run(probe, tmp_path / "run", quiet=True)
    assert summary["validation_images"] == 1
    assert np.isfinite(summary["test_loss"])


def test_features_that_are_all_alike(probe, parts, tmp_path, monkeypatch, capsys):
    """Every image is the first one: answers are near chance, and that is said."""

    def change(name, part):
        return part._replace(positions=np.full_like(part.positions, part.positions[0]))

    parts(change)
    summary = run(probe, tmp_path / "run")
    assert np.isfinite(summary["validation_loss"])
    assert "note    answers are near chance, 10.0 %" in capsys.readouterr().out

"""Plain lines when not on a terminal, a rate that knows nothing of compiling."""

import numpy as np
import pytest

from gtn_jax.config import Config, override
from gtn_jax.training import progress, setup
from gtn_jax.training.loop import run
from gtn_jax.training.progress import few_steps, near_chance


def test_plain_lines_and_rate(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_PLAIN_LINE_SECONDS", 0.0)
    bar = progress.ProgressBar(total_steps=20, steps_per_epoch=5, done_steps=10, quiet=False)
    assert bar.rate == 0.0
    bar.count(1.5, 50)
    bar.count(0.5, 50)
    bar.show(step=12, loss=1.25, accuracy=0.5)
    line = capsys.readouterr().out
    assert "step 12/20" in line
    assert "epoch 2.4" in line
    assert "50 images/s" in line
    assert "8 s left" in line  # 8 steps to go at 1 s each
    assert "\x1b" not in line


def test_features_are_no_images(capsys, monkeypatch):
    """Nor do they say how long the steps on images will take that come after them."""
    monkeypatch.setattr(progress, "_PLAIN_LINE_SECONDS", 0.0)
    bar = progress.ProgressBar(20, 5, 0, quiet=False)
    bar.count(0.5, 100, "features")
    bar.show(1, 1.25, 0.5)
    line = capsys.readouterr().out
    assert "200 features/s" in line and "left" not in line and "images" not in line
    bar.count(2.0, 100)
    bar.show(2, 1.25, 0.5)
    assert "50 images/s  36 s left" in capsys.readouterr().out


def test_lines_are_seconds_apart(capsys):
    bar = progress.ProgressBar(20, 5, 0, quiet=False)
    bar.show(1, 1.0, 0.5)
    assert capsys.readouterr().out == ""


def test_quiet_says_nothing(capsys):
    bar = progress.ProgressBar(20, 5, 0, quiet=True)
    bar.say("hello")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("quiet", [False, True])
def test_bar_on_a_terminal(capsys, monkeypatch, quiet):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with progress.ProgressBar(20, 5, 0, quiet) as bar:
        bar.show(10, 1.25, 0.5)
        bar.say("epoch 2/4")
        assert bar._bar.tasks[0].completed == 10
        assert "loss 1.250" in bar._bar.tasks[0].description
    assert bar._bar.finished is False
    assert bar._bar.live.is_started is False  # also given back after an error
    assert ("epoch 2/4" in capsys.readouterr().out) is not quiet


WITH_WEIGHTS = override(Config(), {"model.weights": "w.safetensors"})
SOLVED = override(WITH_WEIGHTS, {"training.head_start": "solved"})


def test_few_steps():
    assert few_steps(WITH_WEIGHTS, 100) is None and few_steps(SOLVED, 10) is None
    line = few_steps(WITH_WEIGHTS, 60)
    assert line is not None and "training.head_start solved" in line
    line = few_steps(Config(), 60)
    assert line is not None and "head_start" not in line and "training.steps 200" in line


def test_near_chance():
    """Of 100 images and four classes, two deviations above 25 % are 33.7 %."""
    assert near_chance(0.34, 100, 4, WITH_WEIGHTS) is None
    line = near_chance(0.33, 100, 4, WITH_WEIGHTS)
    assert line is not None
    assert line.startswith("answers are near chance, 25.0 %; training.head_start solved")
    assert "find_lr" in str(near_chance(0.33, 100, 4, SOLVED))
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

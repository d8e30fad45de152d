"""Plain lines when not on a terminal, a rate that knows nothing of compiling."""

import pytest

from gtn_jax.training import progress


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

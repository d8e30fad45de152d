"""Plain lines when not on a terminal, a rate that knows nothing of compiling."""

from gtn_jax.training import progress


def test_plain_lines_and_rate(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_PLAIN_LINE_SECONDS", 0.0)
    bar = progress.ProgressBar(total_steps=20, steps_per_epoch=5, done_steps=10, quiet=False)
    assert bar.images_per_second == 0.0
    bar.count(seconds=2.0, images=100)
    bar.show(step=12, loss=1.25, accuracy=0.5)
    line = capsys.readouterr().out
    assert "step 12/20" in line
    assert "epoch 2.4" in line
    assert "50 images/s" in line
    assert "8 s left" in line  # 8 steps to go at 1 s each, counted from step 10
    assert "\x1b" not in line


def test_lines_are_seconds_apart(capsys):
    bar = progress.ProgressBar(20, 5, 0, quiet=False)
    bar.show(1, 1.0, 0.5)
    assert capsys.readouterr().out == ""


def test_quiet_says_nothing(capsys):
    bar = progress.ProgressBar(20, 5, 0, quiet=True)
    bar.say("hello")
    assert capsys.readouterr().out == ""

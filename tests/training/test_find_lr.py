"""The range test: its curve by hand, on a real start, and that a run may follow in the folder."""

import json
import re

import numpy as np
import pytest

from gtn_jax.cli.main import main
from gtn_jax.config import override
from gtn_jax.training import find_lr


def test_smoothing_starts_without_a_pull_to_zero():
    # 0.1 * 5 / 0.1, then (0.9 * 0.5 + 0.1 * 3) / 0.19.
    np.testing.assert_allclose(find_lr.smooth([5.0, 3.0]), [5, 0.75 / 0.19])


def test_suggestion_is_a_tenth_of_where_the_loss_is_lowest():
    rates = np.geomspace(1e-4, 1e2, 61)  # ten a decade
    decades = np.log10(rates)
    # Flat at 2, down to 1 between 0.01 and 0.1, up from 1.
    losses = np.interp(decades, [-2, -1, 0, 2], [2.0, 1.0, 1.0, 5.0])
    found = find_lr.summarize(rates, losses)
    assert 0.5 < found.highest < 3  # the running mean lags a little
    assert found.suggested == found.highest / 10


def test_nothing_to_learn_from_is_said():
    with pytest.raises(ValueError, match="the loss was not finite after 3 steps"):
        find_lr.summarize(np.array([1.0, 2.0, 3.0]), np.ones(3))


def test_on_digits(tiny_config):
    said = []
    found = find_lr.find_lr(override(tiny_config, {"model.gate": "none"}), 1, said.append)
    assert found.rates[0] == pytest.approx(1e-5) and (np.diff(found.rates) > 0).all()
    # At rates that change nothing the loss is that of ten classes.
    assert found.losses[:10].mean() == pytest.approx(np.log(10) * 1.2, rel=0.3)
    assert 1e-3 < found.suggested < 1
    assert re.fullmatch(r"time    about \d+ (s|min): 100 steps at most", said[0])
    assert said[1].startswith(f"{len(found.losses)} steps")


@pytest.mark.slow
def test_verb_and_the_run_after_it(experiment, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert main(["train", experiment, "--workdir", str(workdir), "--find-lr"]) == 0
    printed = capsys.readouterr().out
    assert "the loss is lowest at" in printed
    kept = json.loads((workdir / "find_lr.json").read_text())
    assert len(kept["rates"]) == len(kept["losses"]) == len(kept["smoothed"])
    assert f"{kept['suggested']:.2g}" in printed
    assert (workdir / "find_lr.png").stat().st_size > 5000
    assert main(["train", experiment, "--workdir", str(workdir)]) == 0
    assert (workdir / "summary.json").exists() and (workdir / "find_lr.json").exists()

"""`gtn export --keep-channels` on a real run, used like any other."""

import json

import numpy as np
import pytest

from gtn_jax.analysis.pruned_run import pruned_run
from gtn_jax.cli.main import main
from gtn_jax.inference import prune
from gtn_jax.inference.outputs import run_outputs
from gtn_jax.inference.restore import evaluate_run


def test_smaller_run_is_what_the_curve_says_and_is_a_run(
    finished_run, tmp_path, capsys, cli_refuses
):
    out = tmp_path / "small"
    words = ["export", str(finished_run), "--out", str(out), "--keep-channels", "0.25"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "kept      4 of 16 channels" in printed
    said = json.loads((out / "summary.json").read_text())
    assert said["kept_channels"] == 4 and said["pruned_from"] == "run"
    assert f"the curve says {100 * said['validation_accuracy']:.2f} %" in printed
    row = next(line for line in printed.splitlines() if line.split()[:1] == ["4"])
    assert f"{100 * said['validation_accuracy']:.2f}" == row.split()[1]
    found = evaluate_run(out, "validation")
    assert found["accuracy"] == pytest.approx(said["validation_accuracy"])
    cli_refuses(*words, says=f"{out}: exists already")


@pytest.mark.slow
def test_channels_are_those_of_the_whole_and_no_other_form_is_made(
    finished_run, tmp_path, cli_refuses
):
    out = tmp_path / "small"
    pruned_run(finished_run, out, 0.25)
    assert run_outputs(out, "test").features.shape == (500, 4)
    kept = json.loads((out / "config.json").read_text())["model"]["kept_channels"]
    whole = run_outputs(finished_run, "test").features[:, kept]
    np.testing.assert_allclose(run_outputs(out, "test").features, whole, rtol=1e-4, atol=1e-6)

    cli_refuses("convert", str(out), str(tmp_path / "w.safetensors"), says="no trunk for others")
    authors = ["export", str(out), "--out", str(tmp_path / "pth"), "--to", "torch"]
    pytest.importorskip("torch")
    cli_refuses(*authors, says="model.")


@pytest.mark.slow
@pytest.mark.parametrize("fraction", ["0", "1.5", "-1", "nan"])
def test_fractions_that_are_none(finished_run, tmp_path, cli_refuses, fraction):
    words = ["export", str(finished_run), "--out", str(tmp_path / "x"), "--keep-channels", fraction]
    cli_refuses(*words, says=f"--keep-channels: {float(fraction)} is no fraction", code=2)


@pytest.mark.slow
def test_torch_has_all_channels(finished_run, tmp_path, cli_refuses):
    words = ["export", str(finished_run), "--out", str(tmp_path / "x"), "--keep-channels", "0.5"]
    cli_refuses(*words, "--to", "torch", says="the authors' model has all channels", code=2)


@pytest.mark.slow
def test_other_logits_than_the_curve_are_noticed(finished_run, tmp_path, monkeypatch):
    honest = prune.ChannelMeans
    monkeypatch.setattr(
        "gtn_jax.analysis.pruned_run.prune",
        lambda run, kept, means: prune.prune(run, kept, honest(means.features, means.gated + 1)),
    )
    with pytest.raises(ValueError, match="is not what its curve says"):
        pruned_run(finished_run, tmp_path / "x", 0.5)
    assert not (tmp_path / "x").exists()

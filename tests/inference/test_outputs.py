"""What a run's network computes, against its evaluation; and the verb that looks at it."""

import numpy as np
import pytest

from gtn_jax.cli import main
from gtn_jax.config import override
from gtn_jax.inference.outputs import run_outputs
from gtn_jax.inference.restore import evaluate_run
from gtn_jax.training import loop
from gtn_jax.training.run_folder import RunFolder


@pytest.fixture
def trained_run(tiny_config, tmp_path):
    config = override(tiny_config, {"training.epochs": 1, "model.classifier_bias": True})
    loop.run(config, tmp_path / "run", quiet=True, devices=4)
    return tmp_path / "run"


def test_outputs_are_those_of_the_evaluation_and_gates_looks_at_them(trained_run, capsys):
    found = run_outputs(trained_run, "test")
    assert found.logits.shape == (500, 10)
    assert found.gate.shape == found.features.shape == (500, 16)
    again = (found.gate * found.features) @ found.kernel + found.bias
    np.testing.assert_allclose(again, found.logits, atol=1e-4)
    said = RunFolder(trained_run).predictions("test")
    assert said is not None
    assert found.files.tolist() == said.files.tolist()
    assert found.logits.argmax(axis=1).tolist() == said.predicted.tolist()
    accuracy = evaluate_run(trained_run, "test")["accuracy"]
    assert np.mean(found.logits.argmax(axis=1) == found.labels) == accuracy

    assert main(["gates", str(trained_run), "--split", "test", "--channels"]) == 0
    output = capsys.readouterr().out
    assert f"{100 * accuracy:.2f}" in output and "test, 500 images" in output
    with np.load(trained_run / "gates.npz", allow_pickle=False) as file:
        assert float(file["accuracy_gate"]) == accuracy
        np.testing.assert_allclose(file["mean"], found.gate.mean(axis=0), rtol=1e-5)
        assert file["channels_kept"].tolist() == [16, 12, 8, 6, 4, 3, 2, 1]
        assert file["channels_accuracy_random"][0] == accuracy
        assert sorted(file["channels_order_contribution"]) == list(range(16))
    assert "by contribution %" in output

    assert main(["gates", str(trained_run), "--split", "tset"]) == 1
    assert "no 'tset'" in capsys.readouterr().err

"""What a run's network computes, against its evaluation; and the verb that looks at it."""

import numpy as np

from gtn_jax.cli.main import main
from gtn_jax.inference.outputs import run_outputs
from gtn_jax.inference.restore import evaluate_run
from gtn_jax.runs.folder import RunFolder


def test_outputs_are_those_of_the_evaluation_and_gates_looks_at_them(
    finished_run, tmp_path, capsys
):
    found = run_outputs(finished_run, "test")
    assert found.logits.shape == (500, 10)
    assert found.gate.shape == found.features.shape == (500, 16)
    again = (found.gate * found.features) @ found.kernel + found.bias
    np.testing.assert_allclose(again, found.logits, atol=1e-4)
    said = RunFolder(finished_run).predictions("test")
    assert said is not None
    assert found.files.tolist() == said.files.tolist()
    assert found.logits.argmax(axis=1).tolist() == said.predicted.tolist()
    accuracy = evaluate_run(finished_run, "test")["accuracy"]
    assert np.mean(found.logits.argmax(axis=1) == found.labels) == accuracy

    words = ["gates", str(finished_run), "--out", str(tmp_path), "--split"]
    assert main([*words, "test", "--channels"]) == 0
    output = capsys.readouterr().out
    assert f"{100 * accuracy:.2f}" in output and "test, 500 images" in output
    with np.load(tmp_path / "gates.npz", allow_pickle=False) as file:
        assert float(file["accuracy_gate"]) == accuracy
        np.testing.assert_allclose(file["mean"], found.gate.mean(axis=0), rtol=1e-5)
        assert file["channels_kept"].tolist() == [16, 12, 8, 6, 4, 3, 2, 1]
        assert file["channels_accuracy_random"][0] == accuracy
        assert sorted(file["channels_order_contribution"]) == list(range(16))
    assert "by contribution %" in output

    assert main([*words, "tset"]) == 2
    assert "no 'tset'" in capsys.readouterr().err

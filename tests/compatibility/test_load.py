"""Run folders of every version so far load, number for number; see write_run.py."""

import importlib.util
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from gtn_jax.cli.main import main
from gtn_jax.inference.restore import restore
from gtn_jax.models.backbones import BACKBONES
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.training.optimizer import RateState

HERE = Path(__file__).parent
RUNS = sorted((HERE / "runs").iterdir())

# What write_run.py printed. Never to be changed.
DIGESTS = {
    "params": "78768b3c3195fc2332f4f24b0f1222ad8f2b142635fe01013ebb75de33cbfabb",
    "batch_stats": "4eecb9317c084a7cf405ab1b1871285175c94feda942047fe5a572b756b40bbc",
    "opt_state": "f7edadbc3069431f9ef70cbe28e438d0e119a69e0a257a6dff4eaedda5794e8c",
}
# That version's answer to an image of 0/192, 1/192, ...
LOGITS = [-58.515804, 82.191482, 47.256290]


@pytest.fixture
def written(monkeypatch):
    """write_run.py, its backbone among the known ones."""
    spec = importlib.util.spec_from_file_location("write_run", HERE / "write_run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(BACKBONES, module.BACKBONE, module.SHAPE)
    return module


def test_there_is_one():
    assert [path.name for path in RUNS][:1] == ["0.1.0"]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_every_file_is_as_it_was_written(run, capsys):
    """Also after git has stored it and fetched it again."""
    assert main(["checkpoint", "verify", str(run)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    if run.name == "0.1.0":  # its small files have no digests yet
        names = "config.json, classes.json, preprocessing.json, metrics.jsonl, summary.json"
        assert first == f"files: no digest of {names} (an older version wrote them)"
    else:
        assert first.startswith("files: ok, ")
    assert second.startswith("step 7: ok")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_for_inference(run, written):
    restored = restore(run)
    assert restored.step == 7
    assert restored.classes == ("cat", "dog", "élan")
    assert restored.config == written.CONFIG
    assert restored.preprocessing == ((0.5, 0.25, 0.125), (0.25, 0.5, 1.0))
    for name in ("params", "batch_stats"):
        assert written.digest(restored.variables[name]) == DIGESTS[name]
    # The names still stand for the same layers.
    image = np.arange(192, dtype=np.float32).reshape(1, 8, 8, 3) / 192
    forward = jax.jit(lambda variables: restored.model.apply(variables, image, train=False))
    outputs = forward(restored.variables)
    np.testing.assert_allclose(outputs.logits[0], LOGITS, rtol=1e-4)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_for_training_on(run, written, tmp_path):
    folder = Path(shutil.copytree(run, tmp_path / "run")) / "checkpoints"
    template = written.template()
    with Checkpoints(folder, config=written.CONFIG, classes=written.CLASSES) as checkpoints:
        assert (checkpoints.latest_step(), checkpoints.best_step()) == (7, 7)
        state, position = checkpoints.restore(template, 7)
    inner = state.opt_state.inner_states
    rates = {group: inner[group].inner_state[2] for group in ("backbone", "head")}
    assert [float(rates[group].peak) for group in ("backbone", "head")] == [0.5, 0.5]
    momentum = jax.tree.map(
        lambda leaf: None if isinstance(leaf, RateState) else leaf,
        state.opt_state,
        is_leaf=lambda leaf: isinstance(leaf, RateState),
    )
    for name, found in state.variables.items():
        assert written.digest(found) == DIGESTS[name]
    assert written.digest(momentum) == DIGESTS["opt_state"]
    assert (int(state.step), bool(state.refused)) == (7, False)
    assert jax.random.key_data(state.key).tolist() == [0, 3]
    assert position == {"batches": {"next_index": 7}, "images": 28, "seconds": {"train": 1.25}}
    assert jax.tree.structure(state) == jax.tree.structure(template)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_accuracy_is_in_the_manifest(run):
    found = json.loads((run / "checkpoints/7/manifest.json").read_text())
    assert found["format"] == 1
    assert found["accuracy"] == 0.8125

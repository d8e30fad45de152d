"""The pages of docs/, executed as they stand, a section at a time."""

import contextlib
import io
import re
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gtn_jax
from gtn_jax.config import override
from gtn_jax.config.experiment import load_experiment
from gtn_jax.models.backbones import BACKBONES
from gtn_jax.models.gate import build_gate
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.runs.folder import RunFolder
from gtn_jax.training import loop
from gtn_jax.training.loop import run as run_training
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step
from gtn_jax.weights.port import looks_like

DOCS = Path(__file__).parent.parent / "docs"


def blocks(heading: str, page: str = "extending.md") -> list[str]:
    """The Python of one section."""
    (section,) = re.findall(
        rf"^## {heading}\n(.*?)(?=^## |\Z)", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE
    )
    found = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert found
    return found


def run(*headings: str, page: str = "extending.md", names: dict | None = None) -> dict:
    """Execute the blocks of these sections, one after the other, as one program."""
    names = names or {"__name__": "page"}
    for heading in headings:
        for number, block in enumerate(blocks(heading, page)):
            exec(compile(block, f"{page}: {heading}, block {number}", "exec"), names)
    return names


def test_readme(capsys, monkeypatch):
    """Its model, and what it trains."""
    training, model = blocks("From Python", "../README.md")
    asked = []
    monkeypatch.setattr(loop, "run", lambda *given: asked.append(given) or {"test_accuracy": 0.5})
    exec(compile(training, "README.md", "exec"), {})
    ((config, workdir),) = asked
    assert (config.optimizer.learning_rate, config.seed, config.data.name) == (0.002, 1, "digits")
    assert workdir == "runs/from_python" and capsys.readouterr().out == "0.5\n"
    exec(compile(model, "README.md", "exec"), {})
    assert capsys.readouterr().out == "(4, 10) (4, 256)\n"


def test_public_names():
    assert gtn_jax.train is run_training and {"train", "predict"} < set(dir(gtn_jax))
    assert all(hasattr(gtn_jax, name) for name in dir(gtn_jax))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        gtn_jax.trian  # noqa: B018


def test_new_gate(capsys):
    first = blocks("A new gate")[0]
    code = first[first.index("class ") :]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    names = run("A new gate")
    assert capsys.readouterr().out == "[256. 256.]\n"
    assert jax.tree.map(jnp.shape, names["variables"]["params"]["gate"]) == {
        "fc1": {"kernel": (256, 16)},
        "fc2": {"kernel": (16, 256)},
    }
    # K = 2, one hidden unit, relu(3 - 1) = 2; softmax of (0, 2 log 3): 1/10 and 9/10, times 2.
    gate = build_gate("softmax", reduction=2, dropout=0.7)
    params = {
        "fc1": {"kernel": jnp.array([[1.0], [-1.0]])},
        "fc2": {"kernel": jnp.array([[0.0, jnp.log(3.0)]])},
    }
    gated, factors = gate.apply({"params": params}, jnp.array([[3.0, 1.0]]), True)
    np.testing.assert_allclose(factors, [[0.2, 1.8]], rtol=1e-6)
    np.testing.assert_allclose(gated, [[0.6, 1.8]], rtol=1e-6)


def test_experiment_file_with_a_gate(tmp_path):
    path = tmp_path / "my_experiment.py"
    first, _, last = blocks("A new gate")
    path.write_text(first + "\n\n" + last)
    assert load_experiment(str(path)).model.gate == "softmax"
    assert build_gate("softmax", reduction=2, dropout=0.7).reduction == 2


@pytest.fixture(scope="module")
def backbone_and_loss():
    """What both sections leave behind, and what they print."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        names = run("A new backbone")
        of_the_backbone = names["variables"]
        names = run("A new loss term", names=names)
    yield names, of_the_backbone, output.getvalue()
    del BACKBONES["plain3"], BACKBONES["resnet26"]


def test_new_backbone(backbone_and_loss):
    _, variables, printed = backbone_and_loss
    assert printed.startswith("(2, 64) (2, 10)\n")
    sizes = [leaf.size for leaf in jax.tree.leaves(variables["params"]["backbone"])]
    assert sum(sizes) == 9 * (3 * 16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64)
    # Cut short, and in training: two stages, and statistics that move.
    model = GTN("plain3", 10, stages=2, gate_dropout=0.0, classifier_dropout=0.0)
    images = jnp.ones((2, 16, 16, 3))
    variables = init_variables(model, 0)
    train = jax.jit(lambda v: model.apply(v, images, train=True, mutable=["batch_stats"]))
    outputs, changed = train(variables)
    assert outputs.features.shape == (2, 32)
    mean = changed["batch_stats"]["backbone"]["BatchNorm_0"]["mean"]
    assert float(jnp.abs(mean).max()) > 0
    # A 26-layer ResNet: 3 convolutions in each of 8 blocks, the stem, the classifier.
    backbone = jax.eval_shape(
        lambda: GTN("resnet26", 10).init(jax.random.key(0), jnp.ones((1, 32, 32, 3)), False)
    )["params"]["backbone"]
    kernels = [k for k, _ in jax.tree.leaves_with_path(backbone) if "'kernel'" in str(k[-1])]
    assert len(kernels) == 3 * 8 + 1 + 4
    # What guesses at foreign files passes over functions.
    assert looks_like({}, "torchvision") is None


def test_new_loss_term(backbone_and_loss):
    names, _, _ = backbone_and_loss
    penalty = names["l2_sp"]({"backbone": {"w": jnp.array([1.0, 2.0])}}, alpha=0.5, beta=4.0)
    params = {"backbone": {"w": jnp.array([4.0, 2.0])}, "gate": {"w": jnp.array([3.0])}}
    # 0.5 / 2 * 3^2 + 4 / 2 * 3^2, and the slopes alpha (w - w0) and beta w.
    assert float(penalty(params)) == 2.25 + 18
    slopes = jax.grad(penalty)(params)
    np.testing.assert_array_equal(slopes["backbone"]["w"], [1.5, 0])
    np.testing.assert_array_equal(slopes["gate"]["w"], [12])
    assert int(names["state"].step) == 3
    assert np.isfinite(float(names["metrics"]["loss"]))

    # One step from 0.01 beside the start, without the penalty and with it (as the page built it).
    model, optimizer, batch = names["model"], names["optimizer"], names["batch"]
    variables = init_variables(model, 0)  # the page's own went into a step that donates them
    away = jax.tree.map(lambda leaf: leaf + 0.01, variables["params"])
    state = create_state({**variables, "params": away}, optimizer, learning_rate=0.5, seed=0)
    heads = [leaf for name in away if name != "backbone" for leaf in jax.tree.leaves(away[name])]
    count = sum(leaf.size for leaf in jax.tree.leaves(away["backbone"]))
    expected = 0.05 * count * 0.01**2 + 0.005 * sum(float((leaf**2).sum()) for leaf in heads)
    step = make_train_step(model, optimizer, names["transform"], gtn_loss(0.2))
    plain, without = jax.jit(step)(state, batch)
    pulled, with_it = names["train_step"](state, batch)
    found = float(with_it["loss"]) - float(without["loss"])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(with_it["classifier_loss"], without["classifier_loss"], rtol=1e-5)
    # Rate 0.5 times alpha 0.1 times (w - w0) = 0.01, on every parameter of the backbone.
    pairs = zip(
        jax.tree.leaves(plain.params["backbone"]),
        jax.tree.leaves(pulled.params["backbone"]),
        strict=True,
    )
    for one, other in pairs:
        np.testing.assert_allclose(one - other, np.full(one.shape, 5e-4), atol=2e-6)


def test_mesh_and_pmap_of_the_page():
    names = run("Several devices of one machine", "jit over a mesh, or pmap", page="devices.md")
    assert names["mesh"].size == 4
    for state in (names["meshed"], names["mapped"]):
        assert int(state.step) == 1
        kernel = state.params["classifier"]["fc"]["kernel"]
        assert len(kernel.sharding.device_set) == 4
        assert kernel.sharding.is_fully_replicated


def test_loggers_of_the_page(monkeypatch, tmp_path, tiny_config):
    """Weights & Biases and MLflow are stand-ins that keep what they are told."""
    told: dict[str, list] = {"wandb": [], "mlflow": []}
    wandb_run = types.SimpleNamespace(
        log=lambda values, step: told["wandb"].append((step, values)),
        finish=lambda: told["wandb"].append("finished"),
    )
    mlflow = {
        "log_metrics": lambda values, step: told["mlflow"].append((step, values)),
        "end_run": lambda: told["mlflow"].append("finished"),
    }
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **_: wandb_run))
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(**mlflow))
    first, second, _ = blocks("Other loggers", page="watching.md")
    names: dict = {}
    exec(first + second, names)
    config = override(tiny_config, {"training.epochs": 1, "training.log_every_steps": 5})
    loggers = [names["Wandb"](), names["Mlflow"]()]
    run_training(config, tmp_path / "run", quiet=True, devices=1, loggers=loggers)
    rows = RunFolder(tmp_path / "run").rows()
    for said in told.values():
        assert said.pop() == "finished"
        assert [step for step, _ in said] == [row["step"] for row in rows]
        assert said[-1][1]["validation/accuracy"] == rows[-1]["accuracy"]


def test_ten_classes_are_divided(tmp_path, monkeypatch):
    """The page's own split: 40 files a class in each list, every file in one."""
    monkeypatch.chdir(tmp_path)
    files = {f"{name}/{name}_{n:04d}.jpg" for name in ("banded", "woven") for n in range(120)}
    for file in files:
        (tmp_path / "dtd10/images" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dtd10/images" / file).write_bytes(b"")
    run("Ten classes of DTD, from three stages of an ImageNet ResNet-18", page="results.md")
    labels = tmp_path / "dtd-ten-classes/labels"
    lists = [(labels / f"{name}ten.txt").read_text().split() for name in ("train", "val", "test")]
    assert [len(lines) for lines in lists] == [80, 80, 80]
    assert all(sum("woven" in line for line in lines) == 40 for lines in lists)
    assert {line for lines in lists for line in lines} == files


def test_left_out_classes_are_divided(tmp_path, monkeypatch):
    """The page's own split, on 200 classes of made-up bytes: no image in two places."""
    monkeypatch.chdir(tmp_path)
    arrays: dict = {"names": np.array([f"name {n}" for n in range(200)]),
                    "wnids": np.array([f"n{n:08d}" for n in range(200)])}  # fmt: skip
    for part, of_each in (("train", 300), ("val", 50)):
        labels = np.repeat(np.arange(200), of_each).astype(np.int16)
        # Each "file" is its own number, in four bytes.
        numbers = np.arange(len(labels), dtype=">u4") + (10**6 if part == "val" else 0)
        arrays[f"{part}_labels"] = labels
        arrays[f"{part}_jpeg"] = numbers.astype(">u4").view(np.uint8)
        arrays[f"{part}_offsets"] = 4 * np.arange(len(labels) + 1)
    np.savez(tmp_path / "tiny_imagenet_32_jpeg.npz", **arrays)
    run("Do gates help\\? Frozen backbones: digits, and ten classes of DTD", page="results.md")
    kept = np.load(tmp_path / "tiny_imagenet_160.npz")
    assert len(kept["names"]) == 160 and kept["train_labels"].max() == 159
    pretrained = {bytes(row) for row in kept["train_jpeg"].reshape(-1, 4)}
    assert len(pretrained) == 160 * 300
    files = [file.read_bytes() for file in tmp_path.rglob("*.jpg")]
    assert len(files) == len(set(files)) == 40 * 350
    assert not set(files) & pretrained
    for target in ("first", "second"):
        sizes = [
            len(list((tmp_path / target / part).iterdir())) for part in ("train", "val", "test")
        ]
        assert sizes == [20, 20, 20]
    first = {path.name for path in (tmp_path / "first" / "train").iterdir()}
    assert not first & {path.name for path in (tmp_path / "second" / "train").iterdir()}


def test_a_head_that_is_solved(capsys):
    run("A solved head")
    assert capsys.readouterr().out == "(16, 3) cross-validation 60\n[0 1 2 0 1 2]\n"

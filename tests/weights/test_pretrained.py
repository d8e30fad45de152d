"""`gtn_jax.create`."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.weights import registry
from gtn_jax.weights.keymaps import to_torchvision
from gtn_jax.weights.pretrained import create
from gtn_jax.weights.registry import WeightsInfo


@pytest.fixture(scope="module")
def trained():
    """Variables of a network trained elsewhere (they only need to differ)."""
    return init_variables(GTN("tiny", 4, "none", auxiliary=False), seed=5)


@pytest.fixture
def file(trained, tmp_path):
    """The same as a file."""
    save_file(to_torchvision(trained), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def equal(found, expected):
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_random_start_depends_on_the_seed_only():
    model, variables = create("tiny", num_classes=7, gate="identity", seed=2)
    assert (model.num_classes, model.gate) == (7, "identity")
    equal(variables, init_variables(model, 2))
    other = init_variables(model, 3)
    kernels = [tree["params"]["classifier"]["fc"]["kernel"] for tree in (variables, other)]
    assert np.any(kernels[0] != kernels[1])


def test_backbone_from_the_file_and_heads_as_without_it(file, trained):
    model, variables = create("tiny", num_classes=7, weights=file, seed=2)
    fresh = init_variables(model, 2)
    for head in ("gate", "classifier", "aux_classifier"):
        equal(variables["params"][head], fresh["params"][head])
    equal(variables["params"]["backbone"], trained["params"]["backbone"])
    equal(variables["batch_stats"], trained["batch_stats"])
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(variables))
    images = np.zeros((2, 32, 32, 3), np.float32)
    outputs = jax.eval_shape(lambda: model.apply(variables, images, train=False))
    assert outputs.logits.shape == (2, 7)  # pyright: ignore[reportAttributeAccessIssue]


def test_everything_from_the_file(file, trained):
    _, variables = create("tiny", 4, gate="none", weights=str(file), heads="load", auxiliary=False)
    equal(variables, trained)


def test_refusals(file, monkeypatch):
    with pytest.raises(ValueError, match="num_classes: 0, expected at least 1"):
        create("tiny", 0)
    with pytest.raises(ValueError, match="unknown backbone 'resnet51'; did you mean resnet5"):
        create("resnet51", 2)
    with pytest.raises(ValueError, match=r"tiny\.safetensors: \d+ tensors do not fit"):
        create("resnet32", 2, weights=file)
    monkeypatch.setattr(registry, "ASSETS", file.parent)
    monkeypatch.setitem(registry.WEIGHTS, "toy", WeightsInfo(file.name, "resnet20"))
    with pytest.raises(ValueError, match="weights toy are of resnet20, the model is resnet32; set"):
        create("resnet32", 2, weights="toy")


def test_halves_are_noted_in_one_line(trained, tmp_path, caplog, monkeypatch):
    path = tmp_path / "half.safetensors"
    halves = {name: array.astype(np.float16) for name, array in to_torchvision(trained).items()}
    save_file(halves, path)
    create("tiny", 7, weights=path)
    (record,) = caplog.records
    # 6 convolutions, 6 BatchNorms of 4 arrays, the classifier.
    assert record.getMessage() == f"{path}: 31 tensors of float16 widened to float32"
    caplog.clear()
    monkeypatch.setattr(registry, "ASSETS", tmp_path)
    monkeypatch.setitem(registry.WEIGHTS, "toy", WeightsInfo(path.name, "tiny"))
    create("tiny", 7, weights="toy")
    assert not caplog.records

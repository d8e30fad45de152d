"""The heads of experiments/gate_variants.py: how each starts, and that it trains."""

import jax
import numpy as np
import pytest

import gtn_jax
from gtn_jax.analysis.methods import METHODS, method_config
from gtn_jax.arrays import Pooled
from gtn_jax.config import override
from gtn_jax.config.experiment import load_experiment
from gtn_jax.models.gate import GATES
from gtn_jax.training import loop

# What the classifier sees at the start, from the pooled features f and those of the stage before.
STARTS = {
    "pooled": lambda f, before: f,
    "pooled_identity": lambda f, before: f,
    "pooled_constant": lambda f, before: f,
    "pooled_constant_twice": lambda f, before: f,
    "pooled_no_dropout": lambda f, before: f,
    "scaled": lambda f, before: 4 * f,
    "root": lambda f, before: np.sqrt(f),
    "normalized": lambda f, before: (f - f.mean(1, keepdims=True)) / f.std(1, keepdims=True),
    "seen_normalized": lambda f, before: f,
    "sparse": lambda f, before: f,
    "softmax": lambda f, before: f,
    "stages": lambda f, before: np.concatenate([f, before], axis=1),
    "stages_identity": lambda f, before: np.concatenate([f, before], axis=1),
    "stages_seen": lambda f, before: f,
    "attention": lambda f, before: f,
    "position_identity": lambda f, before: f,
}
STARTS["normalized_identity"] = STARTS["normalized_constant"] = STARTS["normalized"]


@pytest.fixture(autouse=True)
def variants():
    """The file's CONFIG, and the methods that it enters."""
    before = set(METHODS)
    config = load_experiment("gate_variants")
    return config, [name for name in METHODS if name not in before]


@pytest.fixture(scope="module")
def seen():
    """Images, and the last two maps of the plain backbone with the same weights."""
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
    model, variables = gtn_jax.create("resnet8_wide", 10, gate="none", weights="tiny_imagenet")
    maps = jax.jit(lambda v, x: model.apply(v, x, method=lambda m, x: m.stage_maps(x, True)))
    before, last = maps(variables, images)[-2:]
    return images, np.asarray(last), np.asarray(before)


def rows_of(last, before):
    """What the heads see: every position of the last map, then the pooled map before."""
    return np.concatenate([last.reshape(len(last), -1), before.mean((1, 2))], axis=1)


def test_all_are_here(variants):
    assert sorted(variants[1]) == sorted([*STARTS, "pooled_sigmoid"])
    assert all(METHODS[name].gate == name in GATES for name in variants[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", STARTS)
def test_start(seen, name):
    _, last, before = seen
    model, variables = gtn_jax.create(
        "resnet8_wide_positions", 10, gate=name, weights="tiny_imagenet", auxiliary=False
    )
    found = model.apply(variables, Pooled(rows_of(last, before), None), False, method="heads")
    kernel = variables["params"]["classifier"]["fc"]["kernel"]
    expected = STARTS[name](last.mean((1, 2)), before.mean((1, 2))) @ kernel
    np.testing.assert_allclose(found.logits, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_backbone_of_positions(seen):
    images, last, before = seen
    model, variables = gtn_jax.create(
        "resnet8_wide_positions", 10, gate="attention", weights="tiny_imagenet", auxiliary=False
    )
    outputs = jax.jit(lambda v, x: model.apply(v, x, False))(variables, images)
    np.testing.assert_allclose(outputs.features, rows_of(last, before), rtol=1e-4, atol=1e-4)


def test_attention_and_positions_look_at_positions():
    """By hand: two positions, channel 0 tells them apart."""
    features = np.zeros((1, 2 * 256 + 128), np.float32)
    features[0, 0], features[0, 256], features[0, 1] = 4.0, 2.0, 10.0
    score = np.zeros((256, 1), np.float32)
    score[0] = np.log(3) / 2  # weights 3/4 and 1/4
    gated, _ = GATES["attention"]().apply({"params": {"score": {"kernel": score}}}, features, False)
    np.testing.assert_allclose(gated[0, :3], [3.5, 7.5, 0], rtol=1e-5)
    first, second = np.zeros((256, 16), np.float32), np.zeros((16, 256), np.float32)
    first[0, 0], second[0, 1] = 1, np.log(3) / 4  # 2 sigmoid(log 3) = 1.5 at the first position
    params = {"fc1": {"kernel": first}, "fc2": {"kernel": second}}
    gated, _ = GATES["position_identity"]().apply({"params": params}, features, False)
    np.testing.assert_allclose(gated[0, :2], [3, 7.5], rtol=1e-5)


@pytest.mark.slow
def test_trains(variants, data_dir, tmp_path):
    config = override(
        method_config(variants[0], "stages_identity", 0.05, 0),
        {"training.epochs": 3, "training.freeze_epochs": 1, "data.feature_cache_views": 1,
         "data.data_dir": data_dir},
    )  # fmt: skip
    summary = loop.run(config, tmp_path / "run", quiet=True, devices=1)
    assert summary["test_accuracy"] > 0.5

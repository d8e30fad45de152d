"""Statistics of gates by hand; the verb on a run."""

import numpy as np
import pytest
from PIL import Image

from gtn_jax.analysis.channels import ChannelCurve
from gtn_jax.analysis.gates import (
    draw,
    effective_number,
    gate_statistics,
    in_lines,
    similar_pairs,
    write_gates,
)
from gtn_jax.inference.outputs import RunOutputs

CLASSES = ("ant", "bee", "cat")
LABELS = np.array([0, 0, 1, 1], np.int32)  # no cat
KERNEL = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
FEATURES = np.array([[2, 1.5, 0]] * 4, np.float32)
GATE = np.array([[1, 0.2, 0.5], [0.8, 0.4, 0.5], [0.2, 1, 0.5], [0.4, 0.8, 0.5]], np.float32)


def outputs(gate=GATE, kind="sigmoid", bias=(0, 0, 0)) -> RunOutputs:
    files = np.array(["0", "1", "2", "3"])
    bias = np.array(bias, np.float32)
    logits = (gate * FEATURES) @ KERNEL + bias
    return RunOutputs(files, LABELS, logits, gate, FEATURES, KERNEL, bias, kind, CLASSES)


def test_by_hand():
    found = gate_statistics(outputs())
    np.testing.assert_allclose(found.mean, [0.6, 0.6, 0.5], rtol=1e-6)
    np.testing.assert_allclose(found.deviation, [np.sqrt(0.1), np.sqrt(0.1), 0], atol=1e-6)
    np.testing.assert_allclose(found.class_mean[:2], [[0.9, 0.3, 0.5], [0.3, 0.9, 0.5]], rtol=1e-6)
    assert np.isnan(found.class_mean[2]).all()
    # Of each channel's variance 0.1, 0.09 is between the classes.
    assert found.between_classes == pytest.approx(0.9)
    # Logits 2 g0 and 1.5 g1: 2 and 1.6 against 0.3 and 0.6 for ants, 0.4 and 0.8 against 1.5 and
    # 1.2 for bees.
    assert found.accuracy["gate"] == 1.0
    # Without the gate everything is an ant, as with its mean or one half.
    assert [found.accuracy[name] for name in ("mean", "half", "one")] == [0.5, 0.5, 0.5]
    # 1.8 against 0.45 for ants, 0.6 against 1.35 for bees.
    assert found.accuracy["class_mean"] == 1.0


def test_classes_that_share_channels():
    found = gate_statistics(outputs())
    # Off the mean over classes (0.6, 0.6, 0.5) the two are opposite.
    assert found.similarity[0, 1] == pytest.approx(-1.0)
    assert np.isnan(found.similarity[2]).all()
    assert similar_pairs(found, 3) == [(0, 1, pytest.approx(-1.0))]
    assert found.shared_channels.shape == (3, 3)


def test_gate_that_does_not_look_at_the_image():
    constant = np.tile(np.array([0.3, 0.9, 0.1], np.float32), (4, 1))
    found = gate_statistics(outputs(constant, "constant"))
    assert found.deviation.max() < 1e-7
    assert np.isnan(found.between_classes)
    assert found.accuracy["gate"] == found.accuracy["mean"] == found.accuracy["shuffled"]
    assert similar_pairs(found, 3) == []
    assert len(in_lines(outputs(constant, "constant"), found)) == 2


def test_bias_counts():
    found = gate_statistics(outputs(bias=(0, 5, 0)))
    assert set(found.accuracy.values()) == {0.5}  # all are bees


def test_effective_numbers():
    assert effective_number(np.ones(8)) == pytest.approx(8)
    assert effective_number(np.array([0.0, 3.0, 0.0])) == pytest.approx(1)
    # Shares 1/2, 1/4, 1/4: entropy 1.5 ln 2.
    assert effective_number(np.array([2.0, 1.0, 1.0])) == pytest.approx(2**1.5)


@pytest.mark.parametrize("kind", ["none", "mlp"])
def test_what_is_no_factor_is_refused(kind):
    with pytest.raises(ValueError, match=f"model.gate: {kind} puts no factor"):
        gate_statistics(outputs(kind=kind))


def test_file_has_it_all(tmp_path):
    found = gate_statistics(outputs())
    write_gates(tmp_path / "gates.npz", outputs(), found, "test")
    with np.load(tmp_path / "gates.npz", allow_pickle=False) as file:
        assert file["classes"].tolist() == list(CLASSES)
        assert str(file["split"]) == "test"
        assert file["mean"].tolist() == found.mean.tolist()
        assert float(file["accuracy_shuffled"]) == found.accuracy["shuffled"]


def test_another_images_gate_by_hand():
    """Images 0 to 3 get the gates of 2, 0, 1 and 3: two of them a gate of the other class."""
    assert np.random.default_rng(0).permutation(4).tolist() == [2, 0, 1, 3]
    # Logits 2 g0 and 1.5 g1: 0.4 and 1.5 is wrong, 2 and 0.3 right, 1.6 and 0.6 wrong, 0.8 and 1.2
    # right.
    assert gate_statistics(outputs()).accuracy["shuffled"] == 0.5


@pytest.mark.parametrize("classes", [3, 40])
def test_pictures(tmp_path, classes):
    pytest.importorskip("matplotlib")
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes - 1, 90).astype(np.int32)  # one class has no image
    gate, features = generator.random((2, 90, 70)).astype(np.float32)
    kernel = generator.normal(size=(70, classes)).astype(np.float32)
    outputs = RunOutputs(
        labels.astype(str), labels, (gate * features) @ kernel, gate, features, kernel,
        np.zeros(classes, np.float32), "sigmoid", tuple(f"class {n}" for n in range(classes)),
    )  # fmt: skip
    kept, falling = np.array([70, 35, 9]), np.array([0.9, 0.8, 0.3])
    curve = ChannelCurve(kept, {"contribution": falling, "random": falling / 2}, {})
    statistics = gate_statistics(outputs)
    files = draw(statistics, outputs.classes, tmp_path / "gates", curve)
    assert [file.name for file in files] == [
        "openness.png", "class_gates.png", "similar_classes.png", "replacements.png", "channels.png"
    ]  # fmt: skip
    for file in files:
        pixels = np.asarray(Image.open(file).convert("L"))
        assert pixels.shape == (540, 960)
        assert pixels.std() > 10

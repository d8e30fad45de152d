"""Pictures that are not empty."""

import numpy as np
import pytest
from PIL import Image

from gtn_jax.analysis import gate_pictures
from gtn_jax.analysis.channels import ChannelCurve
from gtn_jax.analysis.gates import gate_statistics
from gtn_jax.inference.outputs import RunOutputs


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
    files = gate_pictures.draw(statistics, outputs.classes, tmp_path / "gates", curve)
    assert [file.name for file in files] == [
        "openness.png", "class_gates.png", "similar_classes.png", "replacements.png", "channels.png"
    ]  # fmt: skip
    for file in files:
        pixels = np.asarray(Image.open(file).convert("L"))
        assert pixels.shape == (540, 960)
        assert pixels.std() > 10

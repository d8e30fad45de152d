"""Exact figures, whatever the batch, the devices and the number of images."""

import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest

from gtn_jax.config import Config
from gtn_jax.training import evaluate

EXACT = """
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
import numpy as np
from gtn_jax.config import Config, override
from gtn_jax.data.subsets import Subset
from gtn_jax.data.images import ImagesInMemory, View
from gtn_jax.data.splits import Split
from gtn_jax.models.gtn import init_variables
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.training.setup import build_module
from gtn_jax.training.setup import setup_of
from gtn_jax.training.evaluate import evaluate_images
from gtn_jax.runs.folder import Preprocessing
from gtn_jax.devices import data_mesh, replicate

BACKBONES["tiny"] = ResNetShape("basic", (1,), width=4, stem="small", stem_stride=2)
config = override(Config(), {"model.backbone": "tiny", "model.gate": "none",
                             "model.aux_weight": 0.0, "data.image_size": 8})
model = build_module(config, 7)
# Large enough to be sure of some, wrong about others.
variables = jax.tree.map(lambda leaf: 3 * leaf, init_variables(model, 0))
generator = np.random.default_rng(0)
pixels = list(generator.integers(0, 256, (1000, 8, 8, 3), dtype=np.uint8))
labels = generator.integers(0, 7, 1000).astype(np.int32)

normalized = (np.stack(pixels).astype(np.float32) / 255 - 0.5) / 0.25
logits = np.asarray(model.apply(variables, normalized, train=False).logits, np.float64)
gaps = np.abs(logits - np.take_along_axis(logits, labels[:, None], 1))
assert np.sort(gaps, 1)[:, 1].min() > 1e-5, "another seed: rounding would decide an image"
losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(1000), labels]
ranks = (logits > logits[np.arange(1000), labels][:, None]).sum(1)

compared = 0
for devices in (1, 2, 8):
    mesh = data_mesh(devices)
    everywhere = replicate(variables, mesh)
    for batch_size in (1, 7, 32, 64):
        for count in (1, 7, 8, 9, 1000):
            split = Split([], tuple("abcdefg"), "test")
            rows = np.arange(count)
            files, sizes = np.array(["x"] * count), np.full((count, 2), 8)
            part = Subset(split, rows, labels[:count], files, sizes)
            images = ImagesInMemory(part, View(8, 8), 8, 8, bytes=0, pixels=pixels[:count])
            asked = override(config, {"data.eval_batch_size": batch_size})
            normalization = Preprocessing((0.5,) * 3, (0.25,) * 3)
            setup = setup_of(asked, tuple("abcdefg"), normalization, devices)
            found, answers, _ = evaluate_images(setup, everywhere, images, 0)
            case = (devices, batch_size, count)
            assert found["images"] == count, case
            assert found["accuracy"] == (ranks[:count] == 0).sum() / count, case
            assert found["top5_accuracy"] == (ranks[:count] < 5).sum() / count, case
            np.testing.assert_allclose(found["loss"], losses[:count].mean(), rtol=1e-6)
            assert (answers.predicted == logits[:count].argmax(1)).all(), case
            own = np.exp(-losses[:count])
            np.testing.assert_allclose(answers.label_probability, own, rtol=1e-4, atol=1e-6)
            compared += 1
print("compared", compared)
"""


@pytest.mark.slow
def test_sixty_combinations_give_exact_counts():
    done = subprocess.run([sys.executable, "-c", EXACT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("compared 60\n")


@pytest.mark.parametrize(("classes", "has_it"), [(5, False), (6, True)])
@pytest.mark.parametrize("clips", [None, np.zeros(1)])
def test_top5_only_where_it_can_be_wrong(monkeypatch, classes, has_it, clips):
    figures = {"accuracy": 0.5, "top5_accuracy": 1.0}
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: (figures.copy(), ()))
    monkeypatch.setattr(evaluate, "evaluate_clips", lambda *_: (figures.copy(), (), ()))
    monkeypatch.setattr(evaluate, "evaluation_batches", lambda *_: iter(()))

    class Fake(types.SimpleNamespace):
        def __len__(self):
            return 1

    programs = Fake(evaluation_step=None, probabilities_step=None)
    setup: Any = Fake(
        programs=programs,
        config=Config(),
        mesh=None,
        evaluation_batch=1,
        classes="abcdef"[:classes],
    )
    images: Any = Fake(clips=clips)
    found = evaluate.evaluate_images(setup, {}, images, 0).figures
    assert ("top5_accuracy" in found) is has_it and found["accuracy"] == 0.5

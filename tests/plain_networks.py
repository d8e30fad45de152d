"""Networks of one or two layers, their programs, and what NumPy makes of the same networks.

For tests of what a config does to a step: nothing is random, and little is to compile.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from gtn_jax.arrays import Batch
from gtn_jax.config import (
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainingConfig,
    override,
)
from gtn_jax.models.layers import BatchNorm, Conv
from gtn_jax.training.setup import build_module, build_programs, load_variables, preprocessing_of
from gtn_jax.training.state import create_state
from gtn_jax.weights.registry import IMAGENET_MEAN, IMAGENET_STD


class Plain(nn.Module):
    """One or two stages of a 1x1 convolution with BatchNorm."""

    stages: int | None
    dtype: Any

    @nn.compact
    def __call__(self, images, use_running_average):
        maps, x = [], images
        for number in range(1, (self.stages or 2) + 1):
            x = Conv(8 * number, 1, number, self.dtype, name=f"conv{number}")(x)
            norm = BatchNorm(use_running_average, dtype=self.dtype, name=f"bn{number}")
            x = nn.relu(norm(x))
            maps.append(x)
        return maps


class Pixels(nn.Module):
    """Its features are the pixels of the images."""

    @nn.compact
    def __call__(self, images, use_running_average):
        x = BatchNorm(use_running_average=True, name="bn1")(images)
        return [x.reshape(len(x), 1, 1, -1)]


TRUNKS = {
    "plain": lambda stages, dtype, name: Plain(stages, dtype, name=name),
    "pixels": lambda stages, dtype, name: Pixels(name=name),
}
"""To be entered into `BACKBONES`."""


STILL = Config(
    data=DataConfig(image_size=8, batch_size=4, random_flip=False),
    model=ModelConfig(
        backbone="plain", stages=1, gate="none", classifier_dropout=0.0, aux_weight=0.0
    ),
    optimizer=OptimizerConfig(
        learning_rate=1.0, momentum=0.0, weight_decay=0.0, schedule="constant"
    ),
    training=TrainingConfig(epochs=4),
)
"""Nothing random, w <- w - g, and as little to compile as there can be."""
PER_EPOCH = 10
GENERATOR = np.random.default_rng(0)
BATCH = Batch(
    GENERATOR.integers(0, 256, (4, 8, 8, 3), np.uint8), np.int32([0, 1, 2, 0]), np.ones(4, "f")
)
ONE_HOT = np.eye(3)[BATCH.labels]


def build_model(config: Config, num_classes: int):
    """Module, start, and mean and deviation, as a run has them."""
    model = build_module(config, num_classes)
    return model, load_variables(config, model), preprocessing_of(config)


def build(values: dict[str, Any]):
    """Config, drawn variables (no leaf is where it usually starts) and programs."""
    return _build(override(STILL, values))


@functools.cache
def _build(config: Config):
    # Of what the model is made of, so that others share its start.
    alike = dataclasses.replace(STILL, model=config.model)
    blocks = {"training.remat": config.training.remat}
    model, variables, preprocessing = _model(override(alike, blocks))
    return config, variables, build_programs(config, model, preprocessing, PER_EPOCH)


@functools.cache
def _model(config: Config):
    model, variables, preprocessing = build_model(config, 3)
    draw = np.random.default_rng(1)

    def moved(leaf):
        return np.asarray(leaf) + draw.uniform(0.0, 0.4, leaf.shape).astype(np.float32)

    return model, jax.tree.map(moved, jax.device_get(variables)), preprocessing


def on_host(state):
    return jax.device_get(state.replace(key=None))


def step(values: dict[str, Any], frozen: bool = False, small: bool = False):
    """State before and after a step on BATCH, on the host, and its loss."""
    config, variables, programs = build(values)
    training = config.training
    averages = training.ema_decay > 0 or training.start_share > 0
    before = create_state(variables, programs.optimizer, 1.0, config.seed, averages=averages)
    kept = on_host(before)
    after, metrics = programs.train_step(frozen, small)(before, BATCH)
    return kept, on_host(after), float(metrics["loss"])


def normalized(images) -> np.ndarray:
    return (np.float64(images) / 255 - IMAGENET_MEAN) / IMAGENET_STD


IMAGES = normalized(BATCH.images)


def forward(variables, images=IMAGES, batch_statistics=False, gate="sigmoid"):
    """Logits, auxiliary logits, features, moments of the batch before each BatchNorm; float64."""
    params, x, pooled, moments = variables["params"], images, [], {}
    backbone, running = params["backbone"], variables["batch_stats"]["backbone"]
    for number in range(1, len(running) + 1):
        norm = f"bn{number}"
        x = x[:, ::number, ::number] @ np.float64(backbone[f"conv{number}"]["kernel"][0, 0])
        moments[norm] = {"mean": x.mean((0, 1, 2)), "var": x.var((0, 1, 2))}
        used = (moments if batch_statistics else running)[norm]
        x = (x - used["mean"]) / np.sqrt(used["var"] + 1e-5)
        x = np.maximum(x * backbone[norm]["scale"] + backbone[norm]["bias"], 0)
        pooled.append(x.mean((1, 2)))
    factor = {"none": 1.0, "half": 0.5}.get(gate)
    if factor is None:
        hidden = np.maximum(pooled[-1] @ params["gate"]["fc1"]["kernel"], 0)
        factor = 1 / (1 + np.exp(-hidden @ params["gate"]["fc2"]["kernel"]))
    last, auxiliary = params["classifier"]["fc"], params.get("aux_classifier")
    logits = (factor * pooled[-1]) @ last["kernel"] + last.get("bias", 0.0)
    return logits, auxiliary and pooled[-2] @ auxiliary["fc"]["kernel"], pooled, moments


def cross_entropy(logits, wanted) -> float:
    """Mean over rows, in nats; `wanted` are probabilities B N."""
    return float(np.mean(np.log(np.exp(logits).sum(1)) - (wanted * logits).sum(1)))

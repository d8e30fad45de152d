"""Our own steps: the programs of a run, as `gtn train` builds them, on one batch of noise."""

import functools
import itertools
from typing import Any

import jax
import numpy as np

from gtn_jax.arrays import Batch
from gtn_jax.benchmark.spec import Spec
from gtn_jax.benchmark.workload import Workload, compile_timed, training
from gtn_jax.config import Config, DataConfig, override
from gtn_jax.devices import put_batch
from gtn_jax.training.setup import Programs, load_variables, setup_of
from gtn_jax.training.state import TrainState

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"model.gate": "none", "model.aux_weight": 0.0},
    "rematerialized": {"training.remat": "blocks"},
    "accumulated4": {"training.accumulation_steps": 4},
}
"""Variant of a spec -> fields of its config."""


def config_of(spec: Spec) -> Config:
    """The config of a run on photographs: crops of 224 pixels out of a short side of 256."""
    data = DataConfig(
        image_size=spec.image_size,
        resize_size=round(spec.image_size * 8 / 7),
        batch_size=spec.batch_size,
        random_resized_crop=spec.kind not in ("train_step", "frozen_step"),
    )
    return override(
        Config(data=data),
        {
            "model.backbone": spec.backbone,
            "model.gate": "sigmoid",
            "model.aux_weight": 0.2,
            "model.compute_dtype": spec.dtype,
            "training.epochs": 1,
            "training.freeze_epochs": int(spec.kind == "frozen_step"),
            **VARIANTS.get(spec.variant, {}),
        },
    )


def prepare_run(spec: Spec) -> tuple[Programs, TrainState, jax.sharding.Mesh]:
    """Programs, state and mesh of one device, as before the first training step."""
    config, classes = config_of(spec), tuple(map(str, range(spec.classes)))
    setup = setup_of(config, classes, devices=1)
    state = setup.state(load_variables(config, setup.model))
    return setup.programs, state, setup.mesh


def build(spec: Spec) -> Workload:
    """Steps of training, frozen training or evaluation on a uint8 batch on the device.

    Variant "no_donation" does not donate the state.
    """
    programs, state, mesh = prepare_run(spec)
    generator = np.random.default_rng(0)
    shape = (spec.batch_size, spec.image_size, spec.image_size, 3)
    images = generator.integers(0, 256, shape, np.uint8)
    labels = generator.integers(0, spec.classes, spec.batch_size).astype(np.int32)
    batch = put_batch(Batch(images, labels, mask=np.ones(spec.batch_size, np.float32)), mesh)
    if spec.kind == "evaluation":
        variables = state.variables
        compiled, facts = compile_timed(programs.evaluation_step, variables, batch)
        evaluate = functools.partial(compiled, variables, batch)
        return Workload(evaluate, spec.batch_size, jax.block_until_ready, facts)
    step: Any = programs.train_step(spec.kind == "frozen_step", False)
    if spec.variant == "no_donation":
        step = jax.jit(step.__wrapped__)
    return training(step, state, itertools.repeat((batch,)), spec.batch_size)

"""Our own workloads: the programs of a run, as `gtn train` builds them, on made-up images.

Everything that depends on how a run is put together is in `_config`, `_programs` and, for images
from disk, input.py: a change of the pipeline or of the step's signature is followed there.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jax import lax

from gtn_jax.arrays import Batch
from gtn_jax.benchmark.programs import compile_apart
from gtn_jax.benchmark.spec import Spec, data_of
from gtn_jax.benchmark.workload import Workload
from gtn_jax.config import Config, override
from gtn_jax.devices import put_batch
from gtn_jax.training.programs import Programs, load_variables
from gtn_jax.training.setup import setup_of
from gtn_jax.training.state import TrainState


class Run(NamedTuple):
    """What a run has in hand before its first step.

    Attributes:
        programs: its jitted functions.
        state: on all devices of the mesh.
        mesh: over the spec's devices.
    """

    programs: Programs
    state: TrainState
    mesh: jax.sharding.Mesh


VARIANTS: dict[str, dict[str, Any]] = {
    "rematerialised": {"training.rematerialise": "blocks"},
    "accumulated4": {"training.accumulation_steps": 4},
}
"""Variant of a spec -> fields of its config."""


def config_of(spec: Spec) -> Config:
    """The run that a spec describes; its frozen epochs, if it asks for them, are all there are."""
    return override(
        Config(data=data_of(spec)),
        {
            "model.backbone": spec.backbone,
            "model.gate": spec.gate,
            "model.aux_weight": 0.2 if spec.auxiliary else 0.0,
            "model.compute_dtype": spec.dtype,
            "training.epochs": 1,
            "training.freeze_epochs": int(spec.kind == "frozen_step"),
            **VARIANTS.get(spec.variant, {}),
        },
    )


def prepare_run(spec: Spec) -> Run:
    """Build model, programs and state as training/loop.py does."""
    config, names = config_of(spec), tuple(map(str, range(spec.classes)))
    setup = setup_of(config, names, devices=spec.devices or 1)
    state = setup.state(load_variables(config, setup.model))
    return Run(setup.programs, state, setup.mesh)


def synthetic_batch(spec: Spec) -> Batch:
    """uint8 noise with labels, on the host; the same for the same spec."""
    generator = np.random.default_rng(0)
    shape = (spec.batch_size, spec.image_size, spec.image_size, 3)
    return Batch(
        images=generator.integers(0, 256, shape, np.uint8),
        labels=generator.integers(0, spec.classes, spec.batch_size).astype(np.int32),
        mask=np.ones(spec.batch_size, np.float32),
    )


def train_step(spec: Spec) -> Workload:
    """Training steps on one batch that stays on the device; `frozen_step` the same, frozen.

    Variants of `spec`: "no_donation" keeps the old state's memory. `scan` > 1 puts so many steps
    into one call.
    """
    run = prepare_run(spec)
    batch = put_batch(synthetic_batch(spec), run.mesh)
    step = run.programs.train_step(spec.kind == "frozen_step", False)
    compiled, facts = compile_apart(_lever(step, spec), run.state, batch)
    state = run.state

    def repeat(iterations: int) -> None:
        nonlocal state
        metrics = None
        for _ in range(iterations):
            state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))

    return Workload(repeat, spec.batch_size * spec.scan, facts=facts)


def _lever(step: Any, spec: Spec) -> Any:
    """The jitted step, or another way of calling the function that it is of."""
    if spec.scan > 1:

        def several(state: TrainState, batch: Batch) -> Any:
            return lax.scan(lambda state, _: step(state, batch), state, length=spec.scan)

        return jax.jit(several, donate_argnums=0)
    return jax.jit(step.__wrapped__) if spec.variant == "no_donation" else step


def evaluation(spec: Spec) -> Workload:
    """Evaluation steps on one batch that stays on the device."""
    run = prepare_run(spec)
    batch = put_batch(synthetic_batch(spec), run.mesh)
    variables = run.state.variables
    step = run.programs.evaluation_step
    compiled, facts = compile_apart(step, variables, batch)

    def repeat(iterations: int) -> None:
        sums = None
        for _ in range(iterations):
            sums = compiled(variables, batch)
        jax.block_until_ready(sums)

    return Workload(repeat, spec.batch_size, facts=facts)


def end_to_end(spec: Spec) -> Workload:
    """Training steps on images that come from JPEG files, by the pipeline that training uses.

    The first `images / batch_size` iterations and those after them are alike: the stream is
    endless. `prefetch` batches are sent to the device ahead of the step that takes them. Variants
    of `spec`: "host" and "stream" keep the images there, not where training would.
    """
    from gtn_jax.benchmark.input import jpeg_images, shuffled

    run = prepare_run(spec)
    store = spec.variant if spec.variant in ("host", "stream") else "auto"
    images = jpeg_images(spec, run.mesh, store)
    batches = (put_batch(batch, run.mesh) for batch in shuffled(images, spec))
    ahead = list(itertools.islice(batches, spec.prefetch + 1))
    compiled, facts = compile_apart(run.programs.train_step(False, False), run.state, ahead[0])
    facts |= {"images_are": images.place}
    state = run.state

    def repeat(iterations: int) -> None:
        nonlocal state
        metrics = None
        for _ in range(iterations):
            state, metrics = compiled(state, ahead.pop(0))
            ahead.append(next(batches))
        jax.block_until_ready((state, metrics))

    return Workload(repeat, spec.batch_size, facts=facts)


def _input(spec: Spec) -> Workload:
    from gtn_jax.benchmark import input as images

    return cast(Callable[[Spec], Workload], getattr(images, spec.kind))(spec)


def _rows(spec: Spec) -> Workload:
    from gtn_jax.benchmark.convolutions import convolution_table

    return convolution_table(spec)


KINDS: dict[str, Callable[[Spec], Workload]] = {
    "train_step": train_step,
    "frozen_step": train_step,
    "evaluation": evaluation,
    "end_to_end": end_to_end,
    "input_decode": _input,
    "input_resident": _input,
    "input_host": _input,
    "input_streamed": _input,
    "dataset_start": _input,
    "convolutions": _rows,
}
"""Kind -> builder."""


def build(spec: Spec) -> Workload:
    """The workload of a spec whose framework is ours."""
    return KINDS[spec.kind](spec)

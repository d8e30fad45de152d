"""What a run would do, found out without training: its data, its shapes, one step, its memory.

The step is the real program on made-up images. Weights on this disk are loaded as training loads
them; those of a hub that are not in the cache are not fetched, and made up. Nothing is written into
the run folder. A data set that is not prepared yet is prepared, as its images are counted: a folder
gets its resized copy under `data.data_dir`, one of TFDS is downloaded.
"""

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gtn_jax.arrays import Batch, Variables
from gtn_jax.config import Config
from gtn_jax.data import pipeline
from gtn_jax.data.choice import choose
from gtn_jax.data.images import Images, View, open_images
from gtn_jax.data.sources import absolute, open_data
from gtn_jax.models.gtn import variable_shapes
from gtn_jax.training.build import build_model, build_module, build_programs, check_model
from gtn_jax.training.optimizer import trained_parameters
from gtn_jax.training.preparation import check_parts
from gtn_jax.training.run_folder import Preprocessing, RunFolder
from gtn_jax.training.sharding import Devices, data_mesh, in_words, put_batch, replicate
from gtn_jax.training.state import create_state
from gtn_jax.training.step_folders import StepFolders
from gtn_jax.weights.registry import IMAGENET_MEAN, IMAGENET_STD, is_here, resolve

_KEPT_CHECKPOINTS = 3
"""At most, for a moment: the best, the newest, and the one that replaces it."""


def dry_run(config: Config, workdir: Path, devices: Devices = None) -> Iterator[str]:
    """Everything that can be known beforehand, a line a topic, as soon as it is known.

    Args:
        config: of the run.
        workdir: the run folder; looked at only.
        devices: as `loop.run` takes them.

    Raises:
        ValueError: what would end the run before its first step, unreadable images and weights
            that are yet to be fetched apart; or a first step whose loss is not finite.
    """
    config = dataclasses.replace(config, data=absolute(config.data))
    folder = RunFolder(workdir)
    folder.check(config)
    check_model(config)
    mesh, training = data_mesh(devices), config.training
    yield f"device  {in_words(mesh)}"
    parts = choose(open_data(config.data), config.data, config.seed)
    check_parts(config, parts)
    classes = parts["train"].split.classes
    train = open_images(parts["train"], View.of(config.data, training=True))
    shares = mesh.size, training.accumulation_steps
    batch_size = pipeline.fit_batch_size(config.data.batch_size, train.epoch_images, *shares)
    per_epoch = pipeline.steps_per_epoch(train.epoch_images, batch_size, config.data.last_batch)
    weights = config.model.weights
    if weights is not None and is_here(weights):
        model, variables, preprocessing = build_model(config, len(classes))
    else:
        model = build_module(config, len(classes))
        variables = _made_up(variable_shapes(model))
        preprocessing = Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    programs = build_programs(config, model, preprocessing, per_epoch, batch_size)
    rate = config.optimizer.learning_rate
    state = create_state(variables, programs.optimizer, rate, config.seed)
    state = replicate(state, mesh)
    frozen_epochs = min(training.freeze_epochs, training.epoch_count)
    learning = trained_parameters(
        programs.optimizer, state.params, frozen_epochs == training.epoch_count
    )
    saved = jax.tree.leaves((state.variables, state.opt_state))
    state_bytes = sum(leaf.nbytes for leaf in saved)

    batch = _made_up_batch(train, batch_size, len(classes))
    step: Any = programs.train_step(frozen_epochs == training.epoch_count, False)
    placed, started = put_batch(batch, mesh), time.perf_counter()
    compiled = step.lower(state, placed).compile()
    compile_seconds = time.perf_counter() - started
    state, metrics = compiled(state, placed)
    loss, started = float(metrics["loss"]), time.perf_counter()
    state, metrics = compiled(state, placed)
    jax.block_until_ready(metrics)
    step_seconds = time.perf_counter() - started
    if not math.isfinite(loss):
        raise ValueError(f"the first step's loss is {loss} on made-up images; see model.* fields")

    evaluations = -(-training.epoch_count // training.eval_every_epochs)
    sizes = ", ".join(f"{name} {len(part.positions):,}" for name, part in parts.items())
    steps = per_epoch * training.epoch_count
    frozen = f", {per_epoch * frozen_epochs:,} of them with the trunk frozen"
    yield from (
        f"data    {config.data.name}: {len(classes)} classes; {sizes} images",
        f"batch   images {_shape(batch.images)}, labels {_shape(batch.labels)}, "
        f"logits float32[{batch_size},{len(classes)}]",
        f"model   {config.model.backbone}, gate {config.model.gate}: {state.parameters:,} "
        f"parameters, {learning:,} of which learn",
        f"weights {_weights(weights)}",
        f"steps   {per_epoch:,} an epoch x {training.epoch_count} = {steps:,}"
        f"{frozen if frozen_epochs else ''}; {evaluations} evaluations",
        f"step    ok on made-up images: loss {loss:.3f}; {compile_seconds:.1f} s to compile, "
        f"{step_seconds:.3f} s a step",
        f"memory  {_step_memory(compiled)} a device for a step; state {_mib(state_bytes)}, all "
        f"training images {_mib(train.padded_bytes)} decoded ({config.data.image_store})",
        f"writes  {workdir}: checkpoints of about {_mib(state_bytes)}, "
        f"at most {_KEPT_CHECKPOINTS} at a time, metrics, summary and predictions",
        *_before(folder),
        "nothing was trained, and nothing written into the run folder",
    )


def _before(folder: RunFolder) -> list[str]:
    """What is in the run folder already, and changes what a run would do."""
    if folder.is_finished():
        folder.summary()  # refuses a damaged one
        return ["before  the run is finished: nothing would be done, and its summary printed"]
    usable = StepFolders(folder.checkpoints, lambda line: None).usable()
    return [f"before  it would go on after step {usable[-1]:,}"] if usable else []


def _made_up(shapes: Variables) -> Variables:
    """Kernels that keep sizes as they are, scales and variances 1, all else 0."""
    draw = np.random.default_rng(0).standard_normal

    def fill(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        if len(leaf.shape) > 1:
            fan_in = math.prod(leaf.shape[:-1])
            return (draw(leaf.shape, np.float32) / math.sqrt(fan_in)).astype(leaf.dtype)
        return np.full(leaf.shape, float(name in ("scale", "var")), leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def _made_up_batch(train: Images, batch_size: int, classes: int) -> Batch:
    shape = batch_size, train.height, train.width, 3
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = np.arange(batch_size, dtype=np.int32) % classes
    sizes = None
    if train.view.whole:
        sizes = np.tile(np.array([train.height, train.width], np.int32), (batch_size, 1))
    return Batch(pixels, labels, np.ones(batch_size, np.float32), sizes)


def _weights(weights: str | None) -> str:
    if weights is None:
        return "none: the trunk starts at random"
    if not is_here(weights):
        return f"{weights}, not looked at: fetched when training starts"
    path, info = resolve(weights)
    size = f"{path.stat().st_size / 2**20:.1f} MiB"
    return f"{weights} ({size}, loaded; {info.licence or 'no licence given'})"


def _step_memory(compiled: Any) -> str:
    found = compiled.memory_analysis()
    if found is None:
        return "unknown memory"
    parts = [getattr(found, f"{part}_size_in_bytes") for part in ("argument", "output", "temp")]
    return f"about {_mib(sum(parts) - found.alias_size_in_bytes)}"


def _mib(count: float) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _shape(array: Any) -> str:
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"

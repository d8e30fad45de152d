"""What a run would do, without training: its data, shapes, one step, and memory.

The step is the real program on synthetic images. Local weights are loaded; weights that would have
to be downloaded are replaced by synthetic ones. Nothing is written into the run folder, but a data
set that is not prepared yet is prepared: a folder gets its resized copy under `data.data_dir`, a
TFDS data set is downloaded.
"""

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gtn_jax.arrays import Variables
from gtn_jax.config import Config
from gtn_jax.data.images import View, open_images
from gtn_jax.data.sources import absolute
from gtn_jax.devices import Devices, data_mesh, in_words, put_batch
from gtn_jax.models.gtn import variable_shapes
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.runs.step_folders import StepFolders
from gtn_jax.training.duration import (
    TIMED_FROM,
    Pace,
    Timing,
    announcement,
    made_up_batch,
    time_calls,
    work_after,
)
from gtn_jax.training.resolution import adopt, total_steps, with_start
from gtn_jax.training.setup import (
    check_model,
    load_variables,
    open_setup,
    trainable_parameters,
    watched_split,
)
from gtn_jax.weights.registry import IMAGENET_MEAN, IMAGENET_STD, is_here
from gtn_jax.weights.registry import resolve as resolve_weights

_KEPT_CHECKPOINTS = 3
"""At most, briefly: the best, the newest, and its replacement."""


def dry_run(config: Config, workdir: Path, devices: Devices = None) -> Iterator[str]:
    """Yield what can be known in advance, a line per topic.

    Args:
        workdir: the run folder; only read.
        devices: as in `loop.run`.

    Raises:
        ValueError: any error of a run before its first step, except for unreadable images and
            weights to be downloaded; or a non-finite loss in the first step.
    """
    config = dataclasses.replace(config, data=absolute(config.data))
    folder = RunFolder(workdir)
    config = adopt(config, folder.config()) if folder.is_run() else with_start(config)
    folder.check(config)
    check_model(config)
    yield f"device  {in_words(data_mesh(devices))}"
    weights = config.model.weights
    is_known = weights is not None and is_here(weights)
    made_up = None if is_known else Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    setup, parts = open_setup(config, devices, made_up)
    config, programs, mesh = setup.config, setup.programs, setup.mesh
    training, classes = config.training, setup.classes
    per_epoch, batch_size = setup.epoch.steps, setup.epoch.batch_size
    train = open_images(parts["train"], View.of(config.data, training=True))
    model = setup.model
    state = setup.state(
        load_variables(config, model) if is_known else _made_up(variable_shapes(model))
    )
    trainable = trainable_parameters(config, state.params)
    arrays = jax.tree.leaves((state.variables, state.opt_state))
    state_bytes = sum(leaf.nbytes for leaf in arrays)

    sizes = {name: len(part.positions) for name, part in parts.items()}
    watched = watched_split(config)
    total = setup.total_steps
    work = work_after(config, per_epoch, sizes, watched, None)
    # Short runs are not timed, as in `run`. Evaluation first: a training step donates its state.
    is_timed, evaluation = not 0 < total < TIMED_FROM, Timing(0.0, 0.0)
    if is_timed:
        eval_images = open_images(parts["train"], View.of(config.data, training=False))
        eval_batch = put_batch(
            made_up_batch(eval_images, setup.evaluation_batch, len(classes)), mesh
        )
        evaluation = time_calls(lambda: programs.evaluation_step(state.variables, eval_batch))
    batch = made_up_batch(train, batch_size, len(classes))
    placed, timings = put_batch(batch, mesh), {}
    step_line, memory_line = "none: the head is solved, and that is all", ""
    # The last phase needs the most memory; its numbers are reported.
    for phase in list(work.steps)[0 if is_timed else -1 :]:
        step: Any = programs.train_step(*phase)
        started = time.perf_counter()
        compiled = step.lower(state, placed).compile()
        compile_seconds, losses = time.perf_counter() - started, []

        def take(compiled: Any = compiled, losses: list = losses) -> Any:
            nonlocal state
            state, metrics = compiled(state, placed)
            losses.append(metrics["loss"])
            return metrics

        timing = time_calls(take, is_compiled=True)
        timings[phase] = timing._replace(compile_seconds=compile_seconds)
        loss = float(losses[0])
        if not math.isfinite(loss):
            raise ValueError(
                f"the first step's loss is {loss} on made-up images; see model.* fields"
            )
        step_line = (
            f"ok on made-up images: loss {loss:.3f}; {compile_seconds:.1f} s to compile, "
            f"{timing.seconds:.3f} s a step"
        )
        memory_line = f"{_step_memory(compiled)} a device for a step; "
    time_lines = ()
    if is_timed:
        pace = Pace(timings, evaluation)
        seconds = evaluation.compile_seconds + pace.compile_seconds + work.seconds(pace)
        if training.head_start == "solved":
            seconds += _solved_views(config, sizes) / setup.evaluation_batch * evaluation.seconds
        time_lines = announcement(work, total, total, 0, seconds)

    counts = ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    yield from (
        f"data    {config.data.name}: {len(classes)} classes; {counts} images",
        f"batch   images {_shape(batch.images)}, labels {_shape(batch.labels)}, "
        f"logits float32[{batch_size},{len(classes)}]",
        f"model   {config.model.backbone}, gate {config.model.gate}: {state.parameters:,} "
        f"parameters, {trainable:,} of them trainable",
        f"weights {_weights(weights)}",
        f"steps   {_steps(config, per_epoch)}; {work.evaluations} evaluations",
        f"step    {step_line}",
        *time_lines,
        f"memory  {memory_line}state {_mib(state_bytes)}, all "
        f"training images {_mib(train.padded_bytes)} decoded ({config.data.image_store})",
        f"writes  {workdir}: checkpoints of about {_mib(state_bytes)}, "
        f"at most {_KEPT_CHECKPOINTS} at a time, metrics, summary and predictions",
        *_before(folder),
        "nothing was trained, and nothing written into the run folder",
    )


def _solved_views(config: Config, sizes: dict[str, int]) -> int:
    """Number of images that a solved head takes features of."""
    return sizes["train"] * (1 + bool(config.data.random_flip)) + sizes.get("validation", 0)


def _steps(config: Config, per_epoch: int) -> str:
    """Number of steps, in the unit that the config uses."""
    training, total = config.training, total_steps(config, per_epoch)
    counted = f"{per_epoch:,} an epoch x {training.epoch_count} = {total:,}"
    if training.steps is not None:
        counted = f"{total:,}, {per_epoch:,} an epoch"
    frozen = min(total, per_epoch * training.freeze_epochs)
    return f"{counted}, {frozen:,} of them with the backbone frozen" if frozen else counted


def _before(folder: RunFolder) -> list[str]:
    """What is already in the run folder and changes what a run would do."""
    if folder.is_finished():
        folder.summary()  # refuses a damaged one
        return ["before  the run is finished: nothing would be done, and its summary printed"]
    usable = StepFolders(folder.checkpoints, lambda line: None).usable()
    return [f"before  it would go on after step {usable[-1]:,}"] if usable else []


def _made_up(shapes: Variables) -> Variables:
    """Kernels that preserve magnitudes, scales and variances of 1, zeros elsewhere."""
    draw = np.random.default_rng(0).standard_normal

    def fill(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        if len(leaf.shape) > 1:
            fan_in = math.prod(leaf.shape[:-1])
            return (draw(leaf.shape, np.float32) / math.sqrt(fan_in)).astype(leaf.dtype)
        return np.full(leaf.shape, float(name in ("scale", "var")), leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def _weights(weights: str | None) -> str:
    if weights is None:
        return "none: the backbone starts at random"
    if not is_here(weights):
        return f"{weights}, not looked at: fetched when training starts"
    path, info = resolve_weights(weights)
    size = f"{path.stat().st_size / 2**20:.1f} MiB"
    return f"{weights} ({size}, loaded; {info.license or 'no license given'})"


def _step_memory(compiled: Any) -> str:
    memory = compiled.memory_analysis()
    if memory is None:
        return "unknown memory"
    parts = [getattr(memory, f"{part}_size_in_bytes") for part in ("argument", "output", "temp")]
    return f"about {_mib(sum(parts) - memory.alias_size_in_bytes)}"


def _mib(count: float) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _shape(array: Any) -> str:
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"

"""One training run: from a config to a finished run folder, resumable at any moment.

`run` is the one long function of this package, in stations; everything it calls is short. The
same config in the same folder continues an unfinished run bit for bit (on CPU) and leaves a
finished one alone.
"""

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any

import jax

from gtn_jax.arrays import PooledBatch
from gtn_jax.config import Config
from gtn_jax.data import pipeline
from gtn_jax.data.choice import Part, choose, fingerprint
from gtn_jax.data.sources import absolute, open_data
from gtn_jax.training.build import build_model, build_programs
from gtn_jax.training.checkpoint import Checkpoints
from gtn_jax.training.evaluate import evaluate_images
from gtn_jax.training.feature_cache import compute_features, frozen_gather
from gtn_jax.training.progress import ProgressBar
from gtn_jax.training.run_folder import RunFolder
from gtn_jax.training.sharding import data_mesh, put_batch, replicate
from gtn_jax.training.state import create_state

SELECTED_ON = {"val": "validation", "test_best": "test"}
"""`training.select` -> the split whose best epoch is selected; "last" looks at none."""


def load_images(config: Config, parts: dict[str, Part]) -> dict[str, pipeline.Images]:
    """Every part in the config's view: whole images to crop from in training, squares elsewhere.

    Raises:
        ValueError: one class only, no split to select on, videos whose features are to be cached,
            or an unreadable image.
    """
    data = config.data
    classes = parts["train"].split.classes
    if len(classes) < 2:
        found = ", ".join(classes)
        raise ValueError(f"data.name: {data.name} has one class ({found}); bring at least two")
    if data.cache_views and parts["train"].split.clips:
        raise ValueError(
            f"data.cache_views: {data.name} holds videos, of which each epoch draws other frames; "
            "set it to 0"
        )
    wanted = SELECTED_ON.get(config.training.select, "train")
    if wanted not in parts:
        raise ValueError(f"training.select: {data.name} has no {wanted} split; use last")
    return {
        name: pipeline.load(part, pipeline.View.of(data, training=name == "train"))
        for name, part in parts.items()
    }


def run(config: Config, workdir: Path, quiet: bool = False, devices: int | None = None) -> dict:
    """Train, evaluate, and leave a run folder; continue what is there.

    Args:
        config: of the run.
        workdir: the run folder; new, or one of the same config.
        quiet: leave no line behind; on a terminal a bar shows while it runs.
        devices: use the first so many local devices; None: all.

    Returns:
        The summary, as in `summary.json`: accuracies in 0..1, times in seconds.

    Raises:
        ValueError: anything about config, data, weights or folder that does not work.
    """
    # ---- folder ----------------------------------------------------------------------------
    config = dataclasses.replace(config, data=absolute(config.data))
    folder = RunFolder(workdir)
    folder.check(config)
    finished = folder.summary()
    if finished is not None:
        return finished
    folder.check_writable()

    # ---- devices, data ---------------------------------------------------------------------
    started = time.monotonic()
    mesh = data_mesh(devices)
    parts = choose(open_data(config.data), config.data, config.seed)
    classes = parts["train"].split.classes
    fingerprints = {name: fingerprint(part) for name, part in parts.items()}
    folder.check_data(fingerprints)
    # Checked before the images are decoded, which can take a while.
    pipeline.fit_batch_size(
        config.data.batch_size, max(mesh.size, len(parts["train"].positions)), mesh.size
    )
    images = load_images(config, parts)
    train = images["train"]
    batch_size = pipeline.fit_batch_size(config.data.batch_size, train.epoch_images, mesh.size)
    per_epoch = pipeline.steps_per_epoch(train.epoch_images, batch_size, config.data.last_batch)
    total_steps = config.training.epochs * per_epoch

    # ---- model, optimizer, state -----------------------------------------------------------
    model, variables, preprocessing = build_model(config, len(classes))
    programs = build_programs(config, model, preprocessing, per_epoch)
    state = create_state(variables, programs.optimizer, config.optimizer.learning_rate, config.seed)
    state = replicate(state, mesh)
    folder.start(config, classes, preprocessing)
    folder.keep_data(fingerprints)

    # ---- resume ----------------------------------------------------------------------------
    checkpoints = Checkpoints(folder.checkpoints, config=config, classes=classes)
    step, counted_images, position = 0, 0, None
    clock = dict.fromkeys(("start", "cache", "compile", "train", "evaluate", "checkpoint"), 0.0)
    latest = checkpoints.latest_step()
    if latest is not None:
        state, position = checkpoints.restore(state, latest)
        step, counted_images = latest, position["images"]
        clock |= position["seconds"]
    folder.rewind(step)
    clock["start"] += time.monotonic() - started

    # ---- what is about to happen -----------------------------------------------------------
    bar = ProgressBar(total_steps, per_epoch, step, quiet)
    sizes = ", ".join(f"{name} {len(part)}" for name, part in images.items())
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    bar.say(f"device  {mesh.size} x {jax.devices()[0].device_kind}")
    bar.say(f"data    {config.data.name}: {len(classes)} classes; {sizes} images")
    bar.say(f"model   {config.model.backbone}, gate {config.model.gate}, {parameters:,} parameters")
    if batch_size != config.data.batch_size:
        bar.say(f"note    batch of {batch_size} images: there are only {train.epoch_images}")
    stored, wanted = train.part.split.stored_short_side, train.view.short_side
    if stored not in (None, wanted):
        bar.say(f"note    images are stored {stored} pixels high or wide, and resized to {wanted}")
    if step:
        bar.say(f"resume  at step {step} of {total_steps}")

    # ---- order of the data; features of a frozen trunk --------------------------------------
    gather, frozen_epochs = None, config.training.freeze_epochs
    if config.data.cache_views and step < frozen_epochs * per_epoch:
        # Also on resume: what a frozen trunk makes of them has not changed.
        started = time.monotonic()
        views, pool = config.data.cache_views, programs.pooling_step
        cache = compute_features(pool, state.variables, state.key, train, views, batch_size, mesh)
        gather = frozen_gather(cache, train, per_epoch, frozen_epochs)
        seconds = time.monotonic() - started
        clock["cache"] += seconds
        bar.say(
            f"cache   features of {len(train)} images, {views} views each: {seconds:.1f} s, "
            f"{cache.bytes / 2**20:.1f} MiB"
        )
    batches = pipeline.training_batches(
        train, batch_size, config.data.last_batch, config.seed % 2**32, gather
    )
    if position is not None:
        batches.set_state(position["batches"])

    def log(split: str, at: int, values: dict[str, Any]) -> None:
        seconds = sum(clock.values())
        row = {"step": at, "epoch": at / per_epoch, "split": split, **values, "seconds": seconds}
        folder.append(row)

    pending: list[tuple[int, dict[str, jax.Array]]] = []

    def log_pending() -> None:
        if not pending:
            return
        at, metrics = pending.pop()
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        log("train", at, values)
        bar.show(at, values["loss"], values["accuracy"])

    def validate(split: str) -> dict[str, float]:
        started = time.monotonic()
        result = evaluate_images(programs, state.variables, images[split], config, mesh, step)
        clock["evaluate"] += time.monotonic() - started
        log(split, step, result)
        return result

    def save(accuracy: float | None) -> None:
        log_pending()
        started = time.monotonic()
        folder.sync()
        position = {"batches": batches.get_state(), "images": counted_images, "seconds": {**clock}}
        checkpoints.save(state, position, accuracy)
        clock["checkpoint"] += time.monotonic() - started

    # ---- the loop --------------------------------------------------------------------------
    seen_programs: set[tuple[bool, bool, int]] = set()
    last_save = time.monotonic()
    with bar, checkpoints, contextlib.closing(batches):
        while step < total_steps:
            started = time.monotonic()
            epoch = step // per_epoch
            frozen = epoch < frozen_epochs
            small = epoch < config.data.small_image_epochs
            batch = put_batch(next(batches), mesh)
            if isinstance(batch, PooledBatch):
                state, metrics = programs.head_step(state, batch)
            else:
                state, metrics = programs.train_step(frozen, small)(state, batch)
            step += 1
            checkpoints.check()
            end_of_epoch = step % per_epoch == 0

            # Metrics are read one interval late, so that reading never waits for the device.
            if step % config.training.log_every_steps == 0:
                log_pending()
                pending.append((step, metrics))
            program = (frozen, small, len(batch.labels))
            compiling = program not in seen_programs
            seen_programs.add(program)
            is_save_due = time.monotonic() - last_save >= config.training.checkpoint_every_seconds
            if compiling or end_of_epoch or is_save_due:
                jax.block_until_ready(metrics)  # The clock needs to know.
            elapsed = time.monotonic() - started
            clock["compile" if compiling else "train"] += elapsed
            # Steps on features are so short that counting them would flatter the speed.
            if not compiling and not isinstance(batch, PooledBatch):
                counted_images += len(batch.labels)
                bar.count(elapsed, len(batch.labels))

            if end_of_epoch and _is_due(step // per_epoch, config):
                log_pending()
                accuracy = None
                watched = SELECTED_ON.get(config.training.select, "validation")
                if watched in images:
                    result = validate(watched)
                    accuracy = result["accuracy"]
                    bar.say(
                        f"epoch {step // per_epoch}/{config.training.epochs}  "
                        f"{watched} accuracy {accuracy:.4f}  loss {result['loss']:.4f}"
                    )
                save(accuracy)
                last_save = time.monotonic()
            elif is_save_due:
                save(None)
                last_save = time.monotonic()

        # ---- the answer --------------------------------------------------------------------
        started = time.monotonic()
        checkpoints.wait()
        clock["checkpoint"] += time.monotonic() - started
        started = time.monotonic()
        selected_on = SELECTED_ON.get(config.training.select)
        selected = checkpoints.best_step() if selected_on else step
        if selected is not None and selected != step:
            state, _ = checkpoints.restore(state, selected)
        summary: dict[str, Any] = {
            "steps": total_steps,
            "selected_step": selected,
            "selected_on": selected_on,
        }
        for split in ("validation", "test"):
            if split in images:
                result = evaluate_images(
                    programs, state.variables, images[split], config, mesh, selected or step
                )
                summary |= {f"{split}_{name}": value for name, value in result.items()}
        clock["evaluate"] += time.monotonic() - started
        summary |= {
            "parameters": parameters,
            "images_per_second": counted_images / clock["train"] if clock["train"] else None,
            "seconds": sum(clock.values()),
            **{f"{name}_seconds": seconds for name, seconds in clock.items()},
        }
    folder.finish(summary)
    return summary


def _is_due(epoch: int, config: Config) -> bool:
    """Whether to evaluate after so many epochs: every so often, and at the end."""
    training = config.training
    return epoch % training.eval_every_epochs == 0 or epoch == training.epochs

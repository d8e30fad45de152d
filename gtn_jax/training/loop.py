"""One training run: from a config to a finished run folder, resumable at any moment.

`run` is the one long function of this package, in stations; everything it calls is short. The
same config in the same folder continues an unfinished run bit for bit (on CPU) and leaves a
finished one alone. Of many processes (distributed.py) all run it, and the first one writes.
"""

import collections
import contextlib
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax

from gtn_jax.arrays import PooledBatch
from gtn_jax.config import Config
from gtn_jax.data import pipeline
from gtn_jax.data.sources import absolute
from gtn_jax.devices import Devices, data_mesh, in_words, put_batch
from gtn_jax.runs.folder import RunFolder
from gtn_jax.runs.lock import locked
from gtn_jax.runtime.distributed import agreed, is_first
from gtn_jax.runtime.interruption import EVALUATION_SECONDS, Interrupted, active
from gtn_jax.training.advice import near_chance
from gtn_jax.training.divergence import refused_step
from gtn_jax.training.evaluate import evaluate_images
from gtn_jax.training.feed import open_feed
from gtn_jax.training.loggers import Logger, ProfiledSteps, Watching
from gtn_jax.training.progress import ProgressBar
from gtn_jax.training.resolution import adopt, is_evaluation_due, with_start
from gtn_jax.training.score import (
    FEW_IMAGES,
    FEW_SOLVED,
    is_stale,
    score,
    scores_until,
    start_accuracy,
)
from gtn_jax.training.selection import costs, evaluate_selected
from gtn_jax.training.setup import SELECTED_ON, in_lines, prepare_run


def run(
    config: Config,
    workdir: str | Path,
    quiet: bool = False,
    devices: Devices = None,
    loggers: Sequence[Logger] = (),
    profiled: ProfiledSteps | None = None,
    budget_minutes: float | None = None,
) -> dict:
    """Train, evaluate, and leave a run folder; continue what is there.

    Args:
        config: of the run.
        workdir: the run folder; new, or one of the same config.
        quiet: leave no line behind; on a terminal a bar shows while it runs.
        devices: the first so many local ones, these, or None: all.
        loggers: get each row of `metrics.jsonl` as it is written, too.
        profiled: steps to trace, into `workdir/profile`.
        budget_minutes: from this call to its end, of a new run: it gets fewer steps than the config
            asks for if they do not fit. One that is there goes on as it was begun.

    Returns:
        The summary, as in `summary.json`: accuracies in 0..1, times in seconds.

    Raises:
        ValueError: anything about config, data, weights or folder that does not work; another
            process trains in the folder; or a loss or gradient is not finite.
        Interrupted: a signal came, inside `interruption.caught` only; what was trained is saved.
    """
    # ---- folder ----------------------------------------------------------------------------
    deadline = None if budget_minutes is None else time.monotonic() + 60 * budget_minutes
    workdir = Path(workdir)
    config = dataclasses.replace(config, data=absolute(config.data))
    folder = RunFolder(workdir, writes=is_first())
    if folder.is_run():
        config = adopt(config, folder.config(), is_budgeted=deadline is not None)
        if deadline is not None and not quiet and is_first():
            print(f"budget  changes nothing: {workdir} holds a run, whose length is decided")
        deadline = None
    else:
        config = with_start(config)
    folder.check(config)
    # One that should be there and is gone is made anew; for who only reads it is an error.
    finished = folder.summary() if folder.is_finished() else None
    if agreed(finished is not None):
        if folder.unsealed() and is_first():
            # A kill came before the digests, or an older version wrote it. If somebody is at it,
            # or nothing can be written there, it is not this process's to do.
            with contextlib.suppress(ValueError), locked(workdir):
                folder.seal()
        return finished or {}
    folder.check_writable()
    with locked(workdir) if is_first() else contextlib.nullcontext():
        # Whoever had the lock may have finished just now.
        finished = folder.summary() if folder.is_finished() else None
        if agreed(finished is not None):
            return finished or {}
        watching = Watching(loggers if is_first() else (), profiled, workdir / "profile")
        return _train(config, folder, quiet, devices, watching, deadline)


def _train(
    config: Config,
    folder: RunFolder,
    quiet: bool,
    devices: Devices,
    watching: Watching,
    deadline: float | None,
) -> dict:
    """The other stations of `run`, in a folder that nobody else writes into."""
    # ---- images, programs, state, where it goes on ------------------------------------------
    is_timed, quiet = not quiet, quiet or not is_first()
    if not quiet:  # before the images, which can take a while
        print(f"device  {in_words(data_mesh(devices))}", flush=True)
    ready = prepare_run(config, folder, devices, is_timed, deadline)
    config = ready.config
    mesh, images, programs, state = ready.mesh, ready.images, ready.programs, ready.state
    batch_size, per_epoch, checkpoints = ready.batch_size, ready.per_epoch, ready.checkpoints
    step, position, clock = ready.step, ready.position, {**ready.clock}
    counted_images = position["images"] if position else 0
    train, total_steps, classes = images["train"], ready.total_steps, len(ready.classes)
    bar = ProgressBar(total_steps, per_epoch, step, quiet)
    if ready.pace is not None:
        batch_seconds = ready.pace.evaluation.seconds
        bar.seconds_beside = lambda at: batch_seconds * ready.work_after(at).batches
    for line in in_lines(ready):
        bar.say(line)

    # ---- order of the data; features of a frozen trunk --------------------------------------
    batches, cache_seconds, line = open_feed(ready, config)
    frozen_epochs = config.training.freeze_epochs
    clock["cache"] += cache_seconds
    if line is not None:
        bar.say(line)

    def log(split: str, at: int, values: dict[str, Any]) -> None:
        seconds = sum(clock.values())
        row = {"step": at, "epoch": at / per_epoch, "split": split, **values, "seconds": seconds}
        folder.append(row)
        watching.row(row)

    pending: list[tuple[int, dict[str, jax.Array]]] = []
    # Data positions before the last steps, as many as are done before metrics are read.
    places: collections.deque[tuple[int, Any]] = collections.deque(
        maxlen=2 * config.training.log_every_steps + 2
    )
    first = step

    def log_pending() -> None:
        if not pending:
            return
        at, metrics = pending.pop()
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if values.pop("step") == at:
            log("train", at, values)
            bar.show(at, values["classifier_loss"], values["accuracy"])
        else:
            refuse()

    def refuse() -> NoReturn:
        """End, where a step was refused (see steps.py), with the state before it saved."""
        nonlocal state, step
        pending.clear()
        state = state.replace(step=-1 - state.step)
        step = int(state.step)
        if step > first:
            save(place=dict(places)[step])
        rows = pipeline.rows_of_step(
            train, batch_size, config.data.last_batch, config.seed % 2**32, step
        )
        raise refused_step(step + 1, train.part.files[rows])

    def stop(place: Any) -> NoReturn:
        """End, as a signal asks, with what was trained saved."""
        assert interruption.number is not None
        if step == first:
            raise Interrupted(interruption.number, f"; nothing new since step {step}")
        save(place=place)
        checkpoints.wait()
        raise Interrupted(interruption.number, f"; step {step} of {total_steps} is saved")

    def validate(split: str) -> dict[str, float]:
        started = time.monotonic()
        try:
            result, _, _ = evaluate_images(
                programs, state.variables, images[split], config, mesh, step
            )
        except Interrupted as error:
            checkpoints.wait()
            saved = checkpoints.latest_step()
            raise Interrupted(error.number, f" in an evaluation; saved is step {saved}") from None
        clock["evaluate"] += time.monotonic() - started
        log(split, step, result)
        return result

    def save(accuracy: float | None = None, found: float | None = None, place: Any = None) -> None:
        log_pending()
        if int(state.step) < 0:
            refuse()
        started = time.monotonic()
        folder.sync()
        position = {
            "batches": place or batches.get_state(),
            "order": ready.order,
            "images": counted_images,
            "seconds": {**clock},
            "head": ready.head,
        }
        checkpoints.save(state, position, accuracy, found)
        clock["checkpoint"] += time.monotonic() - started

    told: set[str] = set()

    def tell(advice: str | None) -> None:
        if advice is not None and advice not in told:
            told.add(advice)
            bar.say(f"note    {advice}")

    def judge() -> float:
        """Evaluate what is there and save it; the seconds that the evaluation took."""
        nonlocal floor
        log_pending()
        if int(state.step) < 0:
            refuse()
        accuracy, found, started = None, None, time.monotonic()
        result = validate(watched) if watched in images else None
        if config.training.watch_test and watched != "test" and "test" in images:
            validate("test")
        seconds = time.monotonic() - started
        if result is not None:
            if step == 0:
                floor = result["accuracy"]
            found = score(result, few, floor)
            judged.append(-math.inf if found is None else found)
            accuracy = None if found is None else result["accuracy"]
            bar.say(
                f"{progress_in_words(step, total_steps, per_epoch, config)}  "
                f"{watched} accuracy {result['accuracy']:.4f}  loss {result['loss']:.4f}"
            )
            if 2 * step >= total_steps:
                tell(near_chance(result["accuracy"], int(result["images"]), classes, config))
        save(accuracy, found)
        return seconds

    # ---- the loop --------------------------------------------------------------------------
    seen_programs: set[tuple[bool, bool, int]] = set()
    last_save = time.monotonic()
    is_new = ready.position is None
    interruption, is_evaluation_short = active(), False
    patience = config.training.patience_evaluations
    watched = SELECTED_ON.get(config.training.select, "validation")
    few = FEW_IMAGES if ready.head is None else FEW_SOLVED
    few = 0 if watched == "test" else few  # the authors' best epoch is that of accuracy
    floor = start_accuracy(folder.rows(), watched)
    judged = scores_until(folder.rows(), watched, step, few, floor) if patience else []
    with interruption.deferring(), bar, watching, checkpoints, contextlib.closing(batches):
        if is_new and ready.head is not None:
            # What the run has found if it never comes to a better one.
            judge()
            last_save = time.monotonic()
        while step < total_steps and not is_stale(judged, patience):
            started = time.monotonic()
            epoch = step // per_epoch
            frozen = epoch < frozen_epochs
            small = epoch < config.data.small_image_epochs
            places.append((step, batches.get_state()))
            try:
                with interruption.at_once():  # A read may hang.
                    batch = put_batch(next(batches), mesh)
            except Interrupted:
                stop(places[-1][1])
            watching.before_step()
            state, metrics = programs.take_step(state, batch, frozen, small, train.resident, mesh)
            step += 1
            watching.after_step(metrics)
            checkpoints.check()
            is_due = is_evaluation_due(step, total_steps, per_epoch, config)

            # Metrics are read one interval late, so that reading never waits for the device.
            if step % config.training.log_every_steps == 0:
                log_pending()
                pending.append((step, metrics))
            program = (frozen, small, len(batch.labels))
            compiling = program not in seen_programs
            seen_programs.add(program)
            save_seconds = config.training.checkpoint_every_seconds
            is_due_next = is_evaluation_due(step + 1, total_steps, per_epoch, config)
            if is_due_next and not is_evaluation_short:
                # One that a signal cuts short costs what was trained since the last save.
                save_seconds = min(save_seconds, EVALUATION_SECONDS)
            is_save_due = time.monotonic() - last_save >= save_seconds
            if compiling or is_due or step % per_epoch == 0 or is_save_due:
                jax.block_until_ready(metrics)  # The clock needs to know.
            elapsed = time.monotonic() - started
            clock["compile" if compiling else "train"] += elapsed
            # Steps on features are so short that counting them would flatter the speed.
            on_features = isinstance(batch, PooledBatch)
            if not compiling:
                counted_images += 0 if on_features else len(batch.labels)
                bar.count(elapsed, len(batch.labels), "features" if on_features else "images")

            if is_due:
                is_evaluation_short = judge() < EVALUATION_SECONDS / 2
                last_save = time.monotonic()
            elif is_save_due:
                save()
                last_save = time.monotonic()
            if interruption.number is not None:
                stop(batches.get_state())

        if step < total_steps:
            bar.say(f"stopped: {patience} evaluations without a better one")

        # ---- the answer --------------------------------------------------------------------
        started = time.monotonic()
        checkpoints.wait()
        clock["checkpoint"] += time.monotonic() - started
        started = time.monotonic()
        result, predictions = evaluate_selected(
            config, ready, checkpoints, state, step, folder.rows()
        )
        clock["evaluate"] += time.monotonic() - started
        summary = {
            "steps": step,
            **result,
            **{f"head_{name}": (ready.head or {}).get(name) for name in ("strength", "views")},
            **costs(config, programs.optimizer, state, counted_images, clock),
        }
    folder.finish(summary, predictions)
    return summary


def progress_in_words(step: int, total_steps: int, per_epoch: int, config: Config) -> str:
    """Where a run is, in what its length was given in."""
    if config.training.steps is None:
        return f"epoch {step // per_epoch}/{config.training.epochs}"
    return f"step {step}/{total_steps}"

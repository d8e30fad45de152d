"""One training run: from a config to a finished run folder, resumable at any moment.

`Training.train` is the loop. The same config in the same folder continues an unfinished run bit for
bit (on CPU) and leaves a finished one alone. Of many processes (runtime/distributed.py) all run it,
and the first one writes.
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
import numpy as np

from gtn_jax.arrays import PooledBatch
from gtn_jax.config import Config
from gtn_jax.data import pipeline
from gtn_jax.data.sources import absolute
from gtn_jax.devices import Devices, data_mesh, in_words, put_batch, replicate
from gtn_jax.runs.folder import RunFolder
from gtn_jax.runs.lock import locked
from gtn_jax.runtime.distributed import broadcast_from_primary, is_primary
from gtn_jax.runtime.interruption import EVALUATION_SECONDS, Interrupted, active
from gtn_jax.training.divergence import refused_step
from gtn_jax.training.evaluate import evaluate_images
from gtn_jax.training.loggers import Logger, ProfiledSteps, RunLogger
from gtn_jax.training.progress import ProgressBar, near_chance
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
from gtn_jax.training.setup import SELECTED_ON
from gtn_jax.training.start import RunStart, in_lines, open_feed, prepare_run


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
        ValueError: invalid value anything about config, data, weights or folder that; another
            process trains in the folder; or a loss or gradient is not finite.
        Interrupted: a signal came, inside `interruption.caught` only; what was trained is saved.

    Example:
        A linear probe of the digits, which takes no step; `epochs` above 0 trains.

        >>> import gtn_jax
        >>> from gtn_jax.config import DataConfig, ModelConfig, TrainingConfig
        >>> data = DataConfig(data_dir="data", image_size=8, train_images_per_class=4)
        >>> model = ModelConfig("resnet8_wide", stages=2, weights="tiny_imagenet", gate="none")
        >>> training = TrainingConfig(epochs=0, head_start="solved")
        >>> config = gtn_jax.Config(data, model, training=training)
        >>> summary = gtn_jax.train(config, "runs/digits", quiet=True)
        >>> round(summary["test_accuracy"], 2), summary["test_images"]
        (0.77, 500)
    """
    # ---- folder ----
    deadline = None if budget_minutes is None else time.monotonic() + 60 * budget_minutes
    workdir = Path(workdir)
    config = dataclasses.replace(config, data=absolute(config.data))
    folder = RunFolder(workdir, writes=is_primary())
    if folder.is_run():
        config = adopt(config, folder.config(), is_budgeted=deadline is not None)
        if deadline is not None and not quiet and is_primary():
            print(f"budget  changes nothing: {workdir} holds a run, whose length is decided")
        deadline = None
    else:
        config = with_start(config)
    folder.check(config)
    # One that should be there and is gone is made anew; for who only reads it is an error.
    finished = folder.summary() if folder.is_finished() else None
    if broadcast_from_primary(finished is not None):
        if folder.unsealed() and is_primary():
            # A kill came before the digests, or an older version wrote it. If somebody is at it,
            # or nothing can be written there, it is not this process's to do.
            with contextlib.suppress(ValueError), locked(workdir):
                folder.seal()
        return finished or {}
    folder.check_writable()
    with locked(workdir) if is_primary() else contextlib.nullcontext():
        # Whoever had the lock may have finished just now.
        finished = folder.summary() if folder.is_finished() else None
        if broadcast_from_primary(finished is not None):
            return finished or {}
        watching = RunLogger(loggers if is_primary() else (), profiled, workdir / "profile")
        return _train(config, folder, quiet, devices, watching, deadline)


def _train(
    config: Config,
    folder: RunFolder,
    quiet: bool,
    devices: Devices,
    watching: RunLogger,
    deadline: float | None,
) -> dict:
    """The rest of `run`, in a folder that nobody else writes into."""
    is_timed, quiet = not quiet, quiet or not is_primary()
    if not quiet:  # before the images, which can take a while
        print(f"device  {in_words(data_mesh(devices))}", flush=True)
    start = prepare_run(config, folder, devices, is_timed, deadline)
    bar = ProgressBar(start.setup.total_steps, start.setup.epoch.steps, start.step, quiet)
    training = Training(start, folder, watching, bar)
    with (
        active().deferring(),
        bar,
        watching,
        start.checkpoints,
        contextlib.closing(training.batches),
    ):
        training.train()
        summary, predictions = training.finish()
    folder.finish(summary, predictions)
    return summary


class Training:
    """A run between its start and its end: the state, where it is, and what it has found so far."""

    def __init__(self, start: RunStart, folder: RunFolder, watching: RunLogger, bar: ProgressBar):
        """Open the batches; features of a frozen backbone are computed here.

        Args:
            start: of `prepare_run`.
            folder: of the run.
            watching: loggers and profiler.
            bar: for a person.
        """
        setup = start.setup
        self.start, self.folder, self.watching, self.bar = start, folder, watching, bar
        self.setup, self.programs, self.config = setup, setup.programs, setup.config
        self.clock, self.checkpoints, self.interruption = start.clock, start.checkpoints, active()
        self.state, self.step, self.total_steps = start.state, start.step, setup.total_steps
        self.counted_images = start.position["images"] if start.position else 0
        if start.pace is not None:
            batch_seconds = start.pace.evaluation.seconds
            bar.seconds_beside = lambda at: batch_seconds * start.work_after(at).batches
        for line in in_lines(start):
            bar.say(line)
        with self.clock.timed("cache"):
            self.batches, line = open_feed(start)
        if line is not None:
            bar.say(line)

        # ---- what selection looks at ----
        self.watched = SELECTED_ON.get(self.config.training.select, "validation")
        few = FEW_IMAGES if start.head is None else FEW_SOLVED
        self.few = 0 if self.watched == "test" else few  # the authors' best epoch is of accuracy
        self.floor = start_accuracy(folder.rows(), self.watched)
        self.judged = scores_until(folder.rows(), self.watched, self.step, self.few, self.floor)

        # ---- what is logged one interval late, and what a refused step needs ----
        self.pending: tuple[int, dict[str, jax.Array]] | None = None
        self.places: collections.deque[tuple[int, Any]] = collections.deque(
            maxlen=2 * self.config.training.log_every_steps + 2
        )
        self.told: set[str] = set()
        self.last_save = time.monotonic()
        self.is_evaluation_short = False

    # ---- the loop ----

    def train(self) -> None:
        """Take all steps that are left; evaluate, log and save on the way.

        Raises:
            Diverged: a loss or gradient was not finite; the state before it is saved.
            Interrupted: a signal came; what was trained is saved.
        """
        setup, config, training = self.setup, self.config, self.config.training
        per_epoch, patience = setup.epoch.steps, training.early_stopping_patience
        compiled: set[tuple[bool, bool, int]] = set()
        if self.start.position is None and self.start.head is not None:
            self.judge()  # what the run has found if it never comes to a better one
        while self.step < self.total_steps and not is_stale(self.judged, patience):
            epoch = self.step // per_epoch
            frozen, small = epoch < training.freeze_epochs, epoch < config.data.small_image_epochs
            started = time.monotonic()
            batch = self.next_batch()
            program = (frozen, small, len(batch.labels))
            is_compiling = program not in compiled
            compiled.add(program)
            with self.clock.timed("compile" if is_compiling else "train"):
                self.watching.before_step()
                with (
                    jax.profiler.StepTraceAnnotation("train", step_num=self.step),
                    jax.transfer_guard("disallow"),
                ):
                    self.state, metrics = self.programs.take_step(self.state, batch, frozen, small)
                self.step += 1
                self.watching.after_step(metrics)
                self.checkpoints.check()
                # Metrics are read one interval late, so that reading never waits for the device.
                if self.step % training.log_every_steps == 0:
                    self.log_pending()
                    self.pending = self.step, metrics
                is_due = is_evaluation_due(self.step, self.total_steps, per_epoch, config)
                is_save_due = time.monotonic() - self.last_save >= self.save_interval()
                if is_compiling or is_due or self.step % per_epoch == 0 or is_save_due:
                    jax.block_until_ready(metrics)  # the clock needs to know
            if not is_compiling:
                self.count(batch, time.monotonic() - started)
            if is_due:
                self.judge()
            elif is_save_due:
                self.save()
            if self.interruption.number is not None:
                self.stop(self.batches.get_state())
        if self.step < self.total_steps:
            self.bar.say(f"stopped: {patience} evaluations without a better one")

    def next_batch(self) -> Any:
        """The batch of the next step, on the devices."""
        self.places.append((self.step, self.batches.get_state()))
        try:
            with self.clock.timed("train"), self.interruption.at_once():  # a read may hang
                return put_batch(next(self.batches), self.setup.mesh)
        except Interrupted:
            self.stop(self.places[-1][1])

    def count(self, batch: Any, seconds: float) -> None:
        """Book a step that compiled nothing, for the speed."""
        # Steps on features are so short that counting them would flatter the speed.
        on_features = isinstance(batch, PooledBatch)
        self.counted_images += 0 if on_features else len(batch.labels)
        self.bar.count(seconds, len(batch.labels), "features" if on_features else "images")

    def save_interval(self) -> float:
        """Seconds between saves."""
        seconds = self.config.training.checkpoint_every_seconds
        is_due_next = is_evaluation_due(
            self.step + 1, self.total_steps, self.setup.epoch.steps, self.config
        )
        # An evaluation that a signal cuts short costs what was trained since the last save.
        is_long = is_due_next and not self.is_evaluation_short
        return min(seconds, EVALUATION_SECONDS) if is_long else seconds

    # ---- rows of metrics.jsonl ----

    def log(self, split: str, step: int, values: dict[str, Any]) -> None:
        """Add a row."""
        row = {"step": step, "epoch": step / self.setup.epoch.steps, "split": split, **values}
        row["seconds"] = self.clock.total
        self.folder.append(row)
        self.watching.row(row)

    def log_pending(self) -> None:
        """Log the metrics that wait to be read; ends the run if their step was refused."""
        if self.pending is None:
            return
        (step, metrics), self.pending = self.pending, None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        del values["step"]
        if values.pop("refused"):
            self.refuse()
        self.log("train", step, values)
        self.bar.show(step, values["classifier_loss"], values["accuracy"])

    # ---- evaluation and saves ----

    def judge(self) -> None:
        """Evaluate what is there, and save it."""
        self.log_pending()
        self.check_refused()
        images, accuracy, found = self.start.images, None, None
        started = time.monotonic()
        result = self.evaluate(self.watched) if self.watched in images else None
        if self.config.training.watch_test and self.watched != "test" and "test" in images:
            self.evaluate("test")
        self.is_evaluation_short = time.monotonic() - started < EVALUATION_SECONDS / 2
        if result is not None:
            if self.step == 0:
                self.floor = result["accuracy"]
            found = score(result, self.few, self.floor)
            self.judged.append(-math.inf if found is None else found)
            accuracy = None if found is None else result["accuracy"]
            self.bar.say(
                f"{self.progress()}  {self.watched} accuracy {result['accuracy']:.4f}  "
                f"loss {result['loss']:.4f}"
            )
            if 2 * self.step >= self.total_steps:
                classes = len(self.setup.classes)
                self.tell(
                    near_chance(result["accuracy"], int(result["images"]), classes, self.config)
                )
        self.save(accuracy, found)

    def evaluate(self, split: str) -> dict[str, float]:
        """Evaluate a split, and log the row."""
        images = self.start.images[split]
        try:
            with self.clock.timed("evaluate"):
                result, _, _ = evaluate_images(self.setup, self.state.variables, images, self.step)
        except Interrupted as error:
            self.checkpoints.wait()
            saved = self.checkpoints.latest_step()
            raise Interrupted(error.number, f" in an evaluation; saved is step {saved}") from None
        self.log(split, self.step, result)
        return result

    def save(
        self, accuracy: float | None = None, found: float | None = None, place: Any = None
    ) -> None:
        """Save the state and where the data are; ends the run if a step was refused."""
        self.log_pending()
        self.check_refused()
        with self.clock.timed("checkpoint"):
            self.folder.sync()
            position = {
                "batches": place or self.batches.get_state(),
                "order": self.start.order,
                "images": self.counted_images,
                "seconds": {**self.clock.seconds},
                "head": self.start.head,
            }
            self.checkpoints.save(self.state, position, accuracy, found)
        self.last_save = time.monotonic()

    # ---- ends ----

    def check_refused(self) -> None:
        """End the run if a step was refused."""
        if bool(jax.device_get(self.state.refused)):
            self.refuse()

    def refuse(self) -> NoReturn:
        """End with the state before the refused step saved, see steps.py."""
        self.pending = None
        self.state = self.state.replace(refused=replicate(np.bool_(False), self.setup.mesh))
        self.step = int(self.state.step)
        if self.step > self.start.step:
            self.save(place=dict(self.places)[self.step])
        train, data = self.start.images["train"], self.config.data
        rows = pipeline.rows_of_step(
            train,
            self.setup.epoch.batch_size,
            data.last_batch,
            self.config.seed % 2**32,
            self.step,
        )
        raise refused_step(self.step + 1, train.part.files[rows])

    def stop(self, place: Any) -> NoReturn:
        """End as a signal asks, with what was trained saved."""
        number = self.interruption.number
        assert number is not None
        if self.step == self.start.step:
            raise Interrupted(number, f"; nothing new since step {self.step}")
        self.save(place=place)
        self.checkpoints.wait()
        raise Interrupted(number, f"; step {self.step} of {self.total_steps} is saved")

    def finish(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Evaluate what is selected.

        Returns:
            The summary, and split -> predictions.
        """
        with self.clock.timed("checkpoint"):
            self.checkpoints.wait()
        with self.clock.timed("evaluate"):
            result, predictions = evaluate_selected(
                self.start, self.state, self.step, self.folder.rows()
            )
        head = self.start.head or {}
        summary = {
            "steps": self.step,
            **result,
            **{f"head_{name}": head.get(name) for name in ("strength", "views")},
            **costs(self.config, self.state, self.counted_images, self.clock),
        }
        return summary, predictions

    # ---- words ----

    def tell(self, advice: str | None) -> None:
        """Say a line of advice, once."""
        if advice is not None and advice not in self.told:
            self.told.add(advice)
            self.bar.say(f"note    {advice}")

    def progress(self) -> str:
        """Where the run is, in what its length was given in."""
        if self.config.training.steps is None:
            return f"epoch {self.step // self.setup.epoch.steps}/{self.config.training.epochs}"
        return f"step {self.step}/{self.total_steps}"

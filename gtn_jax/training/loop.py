"""One training run: from a config to a finished run folder, resumable at any time.

`Training.train` is the loop. The same config in the same folder continues an unfinished run bit for
bit (on CPU) and leaves a finished one alone. With several processes (runtime/distributed.py), all
run this, and the primary one writes.
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
from gtn_jax.training.setup import watched_split
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
    """Train and evaluate, or continue an unfinished run.

    Args:
        workdir: the run folder; new, or of the same config.
        quiet: print no lines; on a terminal, a bar still shows during the run.
        devices: the first n devices, these, or None: all.
        loggers: also get each row of `metrics.jsonl`.
        profiled: steps to trace, into `workdir/profile`.
        budget_minutes: time limit of this call, for a new run: it gets fewer steps if those of the
            config do not fit. Ignored for an existing run.

    Returns:
        The summary, as in `summary.json`: accuracies in 0..1, times in seconds.

    Raises:
        ValueError: invalid config, data, weights or folder; another process trains in the folder;
            or a loss or gradient is not finite.
        Interrupted: a signal came, inside `interruption.caught` only; progress is saved.

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
            print(f"budget  ignored: {workdir} holds a run of fixed length")
        deadline = None
    else:
        config = with_start(config)
    folder.check(config)
    # A missing summary is written again here; for readers it is an error.
    finished = folder.summary() if folder.is_finished() else None
    if broadcast_from_primary(finished is not None):
        if folder.unsealed() and is_primary():
            # Killed before the digests, or of an older version. Optional: the folder may be locked
            # or read-only.
            with contextlib.suppress(ValueError), locked(workdir):
                folder.seal()
        return finished or {}
    folder.check_writable()
    with locked(workdir) if is_primary() else contextlib.nullcontext():
        # The previous holder of the lock may have finished.
        finished = folder.summary() if folder.is_finished() else None
        if broadcast_from_primary(finished is not None):
            return finished or {}
        run_logger = RunLogger(loggers if is_primary() else (), profiled, workdir / "profile")
        return _train(config, folder, quiet, devices, run_logger, deadline)


def _train(
    config: Config,
    folder: RunFolder,
    quiet: bool,
    devices: Devices,
    run_logger: RunLogger,
    deadline: float | None,
) -> dict:
    """The rest of `run`, in a folder that this process has locked."""
    is_timed, quiet = not quiet, quiet or not is_primary()
    if not quiet:  # before the images, which can take a while
        print(f"device  {in_words(data_mesh(devices))}", flush=True)
    start = prepare_run(config, folder, devices, is_timed, deadline)
    bar = ProgressBar(start.setup.total_steps, start.setup.epoch.steps, start.step, quiet)
    with bar, run_logger, start.checkpoints:
        training = Training(start, folder, run_logger, bar)
        with active().deferring(), contextlib.closing(training.batches):
            training.train()
            summary, predictions = training.finish()
    folder.finish(summary, predictions)
    return summary


class Training:
    """A run in progress.

    Attributes:
        state: after `step` steps.
        step: steps done.
        counted_images: images in steps that count for the speed; see `count`.
        batches: iterator over the batches of the next steps.
        watched: the split that selects.
        few: number of images below which the loss selects, not the accuracy; see `score`.
        floor: accuracy of the solved start, below which no step is selected.
        scores: of all evaluations so far, for early stopping.
        pending: (step, metrics) to be logged one interval later, when they are ready.
        iterator_states: (step, state of `batches` before it) of recent steps, to save the state
            before a refused step.
        last_save: time of the last save, by `time.monotonic`.
        is_evaluation_short: whether the last evaluation took less than half of
            `EVALUATION_SECONDS`.
    """

    def __init__(self, start: RunStart, folder: RunFolder, run_logger: RunLogger, bar: ProgressBar):
        """Opens the batches, and computes the features of a frozen backbone if they are cached."""
        setup = start.setup
        self.start, self.folder, self.run_logger, self.bar = start, folder, run_logger, bar
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

        self.watched = watched_split(self.config)
        few = FEW_IMAGES if start.head is None else FEW_SOLVED
        self.few = 0 if self.watched == "test" else few  # the authors select by accuracy
        self.floor = start_accuracy(folder.rows(), self.watched)
        self.scores = scores_until(folder.rows(), self.watched, self.step, self.few, self.floor)

        self.pending: tuple[int, dict[str, jax.Array]] | None = None
        self.iterator_states: collections.deque[tuple[int, Any]] = collections.deque(
            maxlen=2 * self.config.training.log_every_steps + 2
        )
        self.advice_given: set[str] = set()
        self.last_save = time.monotonic()
        self.is_evaluation_short = False

    # ---- the loop ----

    def train(self) -> None:
        """Take all remaining steps; evaluate, log and save on the way.

        Raises:
            Diverged: a loss or gradient was not finite; the state before it is saved.
            Interrupted: a signal came; progress is saved.
        """
        setup, config, training = self.setup, self.config, self.config.training
        per_epoch, patience = setup.epoch.steps, training.early_stopping_patience
        compiled: set[tuple[bool, bool, int]] = set()  # (frozen?, small images?, batch size)
        if self.start.position is None and self.start.head is not None:
            self.evaluate_and_save()  # the result, unless training improves on it
        while self.step < self.total_steps and not is_stale(self.scores, patience):
            started = time.monotonic()
            batch = self.next_batch()
            epoch = self.step // per_epoch
            frozen, small = epoch < training.freeze_epochs, epoch < config.data.small_image_epochs
            program = frozen, small, len(batch.labels)
            is_compiling = program not in compiled
            compiled.add(program)
            with self.clock.timed("compile" if is_compiling else "train"):
                self.run_logger.before_step()
                with (
                    jax.profiler.StepTraceAnnotation("train", step_num=self.step),
                    jax.transfer_guard("disallow"),
                ):
                    self.state, metrics = self.programs.take_step(self.state, batch, frozen, small)
                self.step += 1
                self.run_logger.after_step(metrics)
                self.checkpoints.check()
                # Metrics are read one interval late, so that reading never waits for the device.
                if self.step % training.log_every_steps == 0:
                    self.log_pending()
                    self.pending = self.step, metrics
                evaluates = is_evaluation_due(self.step, self.total_steps, per_epoch, config)
                saves = time.monotonic() - self.last_save >= self.save_interval()
                if is_compiling or evaluates or self.step % per_epoch == 0 or saves:
                    jax.block_until_ready(metrics)  # for the clock
            if not is_compiling:
                self.count(batch, time.monotonic() - started)
            if evaluates:
                self.evaluate_and_save()
            elif saves:
                self.save()
            if self.interruption.number is not None:
                self.stop(self.batches.get_state())
        if self.step < self.total_steps:
            self.bar.say(f"stopped: {patience} evaluations without a better one")

    def next_batch(self) -> Any:
        """The batch of the next step, on the devices."""
        self.iterator_states.append((self.step, self.batches.get_state()))
        try:
            with self.clock.timed("train"), self.interruption.at_once():  # a read may hang
                return put_batch(next(self.batches), self.setup.mesh)
        except Interrupted:
            self.stop(self.iterator_states[-1][1])

    def count(self, batch: Any, seconds: float) -> None:
        """Count a step that did not compile, for the speed."""
        # Steps on features are much shorter and would inflate the images per second.
        on_features = isinstance(batch, PooledBatch)
        self.counted_images += 0 if on_features else len(batch.labels)
        self.bar.count(seconds, len(batch.labels), "features" if on_features else "images")

    def save_interval(self) -> float:
        """Seconds between saves."""
        seconds = self.config.training.checkpoint_every_seconds
        is_due_next = is_evaluation_due(
            self.step + 1, self.total_steps, self.setup.epoch.steps, self.config
        )
        # If a signal cuts an evaluation short, progress since the last save is lost.
        is_long = is_due_next and not self.is_evaluation_short
        return min(seconds, EVALUATION_SECONDS) if is_long else seconds

    # ---- rows of metrics.jsonl ----

    def log(self, split: str, step: int, values: dict[str, Any]) -> None:
        """Append a row to `metrics.jsonl`."""
        row = {"step": step, "epoch": step / self.setup.epoch.steps, "split": split, **values}
        row["seconds"] = self.clock.total
        self.folder.append(row)
        self.run_logger.row(row)

    def log_pending(self) -> None:
        """Log the pending metrics; ends the run if their step was refused."""
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

    def evaluate_and_save(self) -> None:
        """Evaluate the watched split (and test, if `watch_test`), and save the step with its score.

        Ends the run if a step was refused.
        """
        self.log_pending()
        self.check_refused()
        images, accuracy, score_value = self.start.images, None, None
        started = time.monotonic()
        result = self.evaluate(self.watched) if self.watched in images else None
        if self.config.training.watch_test and self.watched != "test" and "test" in images:
            self.evaluate("test")
        self.is_evaluation_short = time.monotonic() - started < EVALUATION_SECONDS / 2
        if result is not None:
            if self.step == 0:
                self.floor = result["accuracy"]
            score_value = score(result, self.few, self.floor)
            self.scores.append(-math.inf if score_value is None else score_value)
            accuracy = None if score_value is None else result["accuracy"]
            self.bar.say(
                f"{self.progress()}  {self.watched} accuracy {result['accuracy']:.4f}  "
                f"loss {result['loss']:.4f}"
            )
            if 2 * self.step >= self.total_steps:
                classes = len(self.setup.classes)
                self.advise(
                    near_chance(result["accuracy"], int(result["images"]), classes, self.config)
                )
        self.save(accuracy, score_value)

    def evaluate(self, split: str) -> dict[str, float]:
        """Evaluate a split, and log the metrics."""
        images = self.start.images[split]
        try:
            with self.clock.timed("evaluate"):
                result, _, _ = evaluate_images(self.setup, self.state.variables, images, self.step)
        except Interrupted as error:
            self.checkpoints.wait()
            saved = self.checkpoints.latest_step()
            last = "nothing is saved" if saved is None else f"the last saved step is {saved}"
            raise Interrupted(error.number, f" in an evaluation; {last}") from None
        self.log(split, self.step, result)
        return result

    def save(
        self,
        accuracy: float | None = None,
        score_value: float | None = None,
        iterator_state: Any = None,
    ) -> None:
        """Save state and data position; ends the run if a step was refused."""
        self.log_pending()
        self.check_refused()
        with self.clock.timed("checkpoint"):
            self.folder.sync()
            position = {
                "batches": iterator_state or self.batches.get_state(),
                "order": self.start.order,
                "images": self.counted_images,
                "seconds": {**self.clock.seconds},
                "head": self.start.head,
            }
            self.checkpoints.save(self.state, position, accuracy, score_value)
        self.last_save = time.monotonic()

    # ---- ends ----

    def check_refused(self) -> None:
        """End the run if a step was refused."""
        if bool(jax.device_get(self.state.refused)):
            self.refuse()

    def refuse(self) -> NoReturn:
        """Save the state before the refused step (see steps.py), and raise `Diverged`."""
        self.pending = None
        self.state = self.state.replace(refused=replicate(np.bool_(False), self.setup.mesh))
        self.step = int(self.state.step)
        is_saved = self.start.position is not None or self.start.head is not None
        if self.step > self.start.step or not is_saved:
            self.save(iterator_state=dict(self.iterator_states)[self.step])
        train, data = self.start.images["train"], self.config.data
        rows = pipeline.rows_of_step(
            train,
            self.setup.epoch.batch_size,
            data.last_batch,
            self.config.seed,
            self.step,
        )
        raise refused_step(self.step + 1, train.part.files[rows])

    def stop(self, iterator_state: Any) -> NoReturn:
        """Save, and raise `Interrupted`."""
        number = self.interruption.number
        assert number is not None
        if self.step == self.start.step:
            raise Interrupted(number, f"; nothing new since step {self.step}")
        self.save(iterator_state=iterator_state)
        self.checkpoints.wait()
        raise Interrupted(number, f"; step {self.step} of {self.total_steps} is saved")

    def finish(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Evaluate the selected step; returns the summary, and split -> predictions."""
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

    # ---- printing ----

    def advise(self, advice: str | None) -> None:
        """Print a line of advice, once."""
        if advice is not None and advice not in self.advice_given:
            self.advice_given.add(advice)
            self.bar.say(f"note    {advice}")

    def progress(self) -> str:
        """Steps or epochs done, in the unit of the config."""
        if self.config.training.steps is None:
            return f"epoch {self.step // self.setup.epoch.steps}/{self.config.training.epochs}"
        return f"step {self.step}/{self.total_steps}"

"""Who else sees what a run logs: TensorBoard, a service of yours, JAX's profiler.

`metrics.jsonl` has every row in any case. A `Logger` is a few lines of user code around wandb,
MLflow or anything else: docs/watching.md.
"""

import importlib.util
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax

from gtn_jax.errors import ArgumentError

Row = Mapping[str, Any]


class Logger(Protocol):
    """What `loop.run` takes as one of its `loggers`."""

    def log(self, row: Row) -> None:
        """Take a row of `metrics.jsonl`: step, epoch, split, and numbers by name."""

    def close(self) -> None:
        """The run is over, or stopped."""


class ProfiledSteps(NamedTuple):
    """Which steps to trace, counted from 1 in this process: compiling is over by the tenth.

    Attributes:
        first: the first one.
        last: the last one.
    """

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> "ProfiledSteps":
        """ "10:20" -> steps 10 to 20.

        Raises:
            ValueError: another form, or steps that do not rise.
        """
        first, _, last = text.partition(":")
        if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
            raise ArgumentError(
                "profiled", f"invalid value {text!r}; expected FIRST:LAST, e.g. 10:20"
            )
        return cls(int(first), int(last))


class RunLogger:
    """Tells every logger of every row, and traces some steps."""

    def __init__(
        self, loggers: Sequence[Logger], profiled: ProfiledSteps | None, trace_folder: Path
    ):
        """Nothing begins yet.

        Args:
            loggers: of this process.
            profiled: steps to trace; None: none.
            trace_folder: for the trace, which xprof and TensorBoard's profile plugin show.
        """
        self._loggers, self._profiled, self._folder = tuple(loggers), profiled, trace_folder
        self._steps, self._is_tracing = 0, False

    def row(self, row: Row) -> None:
        """Pass a row on."""
        for logger in self._loggers:
            logger.log(row)

    def before_step(self) -> None:
        """A step is about to be dispatched."""
        self._steps += 1
        if self._profiled is not None and self._steps == self._profiled.first:
            jax.profiler.start_trace(str(self._folder))
            self._is_tracing = True

    def after_step(self, metrics: Any) -> None:
        """It was dispatched; `metrics` are ready when it is done."""
        if self._is_tracing and self._profiled and self._steps >= self._profiled.last:
            jax.block_until_ready(metrics)
            self._stop()

    def _stop(self) -> None:
        self._is_tracing = False
        jax.profiler.stop_trace()

    def __enter__(self) -> "RunLogger":
        """As a context it ends whatever happened."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Finish a trace that steps did not suffice for, and close the loggers."""
        if self._is_tracing:
            self._stop()
        for logger in self._loggers:
            logger.close()


class TensorBoardLogger:
    """Event files by tensorboardX, the extra `tensorboard`; tags are SPLIT/NAME."""

    def __init__(self, folder: Path):
        """The folder is made with the first row.

        Args:
            folder: of the event files; a run that goes on adds one.

        Raises:
            ValueError: tensorboardX is not installed.
        """
        if importlib.util.find_spec("tensorboardX") is None:
            raise ValueError('TensorBoard needs tensorboardX: pip install "gtn_jax[tensorboard]"')
        self._folder, self._writer = folder, None

    def log(self, row: Row) -> None:
        """A scalar a number of the row."""
        if self._writer is None:
            from tensorboardX import SummaryWriter

            # What a run that goes on logs again takes the place of what it logged before. Names
            # alone have seconds only, and a second file of one second would replace the first.
            self._writer = SummaryWriter(
                str(self._folder),
                purge_step=row["step"],
                filename_suffix=f".{time.monotonic_ns():020}",
            )
        for name, value in row.items():
            if name not in ("step", "split") and isinstance(value, int | float):
                self._writer.add_scalar(f"{row['split']}/{name}", value, row["step"])

    def close(self) -> None:
        """Write what is buffered."""
        if self._writer is not None:
            self._writer.close()

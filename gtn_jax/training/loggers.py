"""Further destinations of metrics: TensorBoard, custom loggers, JAX's profiler.

`metrics.jsonl` always has every row. A `Logger` is a few lines of user code around wandb, MLflow or
anything else: docs/watching.md.
"""

import contextlib
import importlib.util
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax

from gtn_jax.errors import ArgumentError

Row = Mapping[str, Any]


class Logger(Protocol):
    """A metrics logger, for the `loggers` of `loop.run`."""

    def log(self, row: Row) -> None:
        """Take a row of `metrics.jsonl`: step, epoch, split, and numbers by name."""

    def close(self) -> None:
        """The run has ended."""


class ProfiledSteps(NamedTuple):
    """Steps to trace, inclusive, counted from 1; compilation ends before the tenth."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> "ProfiledSteps":
        """ "10:20" -> steps 10 to 20; ValueError for another form, or decreasing steps."""
        first, _, last = text.partition(":")
        if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
            raise ArgumentError(
                "profiled", f"invalid value {text!r}; expected FIRST:LAST, e.g. 10:20"
            )
        return cls(int(first), int(last))


class RunLogger(contextlib.AbstractContextManager):
    """Passes rows to all loggers, and traces some steps.

    As a context manager, it finishes the trace and closes the loggers.

    Args:
        loggers: of this process.
        profiled: steps to trace; None: none.
        trace_folder: for the trace, shown by xprof and TensorBoard's profile plugin.
    """

    def __init__(
        self, loggers: Sequence[Logger], profiled: ProfiledSteps | None, trace_folder: Path
    ):
        self._loggers, self._profiled, self._folder = tuple(loggers), profiled, trace_folder
        self._steps, self._is_tracing = 0, False

    def row(self, row: Row) -> None:
        """Log a row."""
        for logger in self._loggers:
            logger.log(row)

    def before_step(self) -> None:
        """Call before a step is dispatched."""
        self._steps += 1
        if self._profiled is not None and self._steps == self._profiled.first:
            jax.profiler.start_trace(str(self._folder))
            self._is_tracing = True

    def after_step(self, metrics: Any) -> None:
        """Call after a step is dispatched, with its metrics."""
        if self._is_tracing and self._profiled and self._steps >= self._profiled.last:
            jax.block_until_ready(metrics)
            self._stop()

    def _stop(self) -> None:
        self._is_tracing = False
        jax.profiler.stop_trace()

    def __exit__(self, *exception: object) -> None:
        if self._is_tracing:
            self._stop()
        for logger in self._loggers:
            logger.close()


class TensorBoardLogger:
    """TensorBoard event files, by tensorboardX (the extra `tensorboard`); tags are SPLIT/NAME.

    Args:
        folder: created with the first row; a resumed run adds a file.

    Raises:
        ValueError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path):
        if importlib.util.find_spec("tensorboardX") is None:
            raise ValueError('TensorBoard needs tensorboardX: pip install "gtn_jax[tensorboard]"')
        self._folder, self._writer = folder, None

    def log(self, row: Row) -> None:
        """Log each number of a row as a scalar."""
        if self._writer is None:
            from tensorboardX import SummaryWriter

            # A resumed run replaces the steps that it logs again. Default file names have only a
            # resolution of seconds; the suffix keeps them distinct.
            self._writer = SummaryWriter(
                str(self._folder),
                purge_step=row["step"],
                filename_suffix=f".{time.monotonic_ns():020}",
            )
        for name, value in row.items():
            if name not in ("step", "split") and isinstance(value, int | float):
                self._writer.add_scalar(f"{row['split']}/{name}", value, row["step"])

    def close(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()

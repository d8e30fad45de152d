"""Output of commands, robust standard streams, and setup of the process."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def say(line: str) -> None:
    """Print a line to standard output and flush."""
    print(line, flush=True)


def print_error(line: str) -> None:
    """Print an error line to standard error and flush."""
    print(f"error: {line}", file=sys.stderr, flush=True)


def aside(line: str) -> None:
    """Print a line for people to standard error, where scripts read standard output."""
    print(line, file=sys.stderr, flush=True)


def show(table: Any) -> None:
    """Print a rich table, 80 columns wide if the output is not a terminal."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 80).print("", table, "")


class Counting:
    """Progress over many files on standard error: a bar on a terminal, otherwise lines."""

    _SECONDS = 10.0

    def __init__(self, what: str):
        """Count `what`, e.g. "files"; nothing is shown before the first `show`."""
        self._what, self._bar, self._task = what, None, None
        self._last = time.monotonic()

    def show(self, done: int, total: int) -> None:
        """Show the numbers of finished and of all files."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            if self._bar is None:
                self._bar = Progress(console=Console(stderr=True), transient=True)
                self._task = self._bar.add_task(self._what, total=total)
                self._bar.start()
            assert self._task is not None
            self._bar.update(self._task, completed=done, total=total)
        elif time.monotonic() - self._last >= self._SECONDS:
            self._last = time.monotonic()
            print(f"{done} of {total} {self._what}", file=sys.stderr, flush=True)

    def __enter__(self) -> "Counting":
        """As a context manager it removes the bar in any case."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


class SteadyStream:
    """A text stream that discards output after its first error: a full disk must not end a run."""

    def __init__(self, stream: Any):
        """Wrap a stream; None if it was closed before the process started."""
        self._stream = stream
        self._error: OSError | None = None

    def failure(self) -> OSError | None:
        """The error that lost some output; None if all was written."""
        self.flush()
        return self._error

    def write(self, text: str) -> int:
        """Write; characters that the encoding lacks, e.g. in file names, are escaped."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        shown = text.encode(encoding, "backslashreplace").decode(encoding)
        self._try(lambda stream: stream.write(shown))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        if self._stream is not None:
            self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        """Other attributes are the stream's."""
        return getattr(self._stream, name)

    def _try(self, action: Callable[[Any], object]) -> None:
        try:
            if self._stream is None:
                raise OSError("it is closed")
            action(self._stream)
        except OSError as error:
            if self._error is None:
                self._error = error
                self._divert()

    def _divert(self) -> None:
        # Buffered output would fail again, with a message, when Python exits.
        with contextlib.suppress(OSError, AttributeError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


@contextlib.contextmanager
def steady_output() -> Iterator[SteadyStream]:
    """Make standard output and standard error steady; yields standard output."""
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    output, errors = SteadyStream(sys.stdout), SteadyStream(sys.stderr)
    sys.stdout, sys.stderr = output, errors
    try:
        yield output
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


def _fill_descriptors() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed.

    Otherwise the next opened file, e.g. a checkpoint, gets that number, and receives what libraries
    write to standard error.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def set_up_process() -> None:
    """Configure memory and compilation cache, before a command imports what it computes with."""
    from gtn_jax.runtime.allocator import collect_garbage_rarely, keep_freed_memory

    keep_freed_memory()
    collect_garbage_rarely()
    from gtn_jax.runs.quiet_orbax import keep_failed_saves_short
    from gtn_jax.runtime.compilation_cache import enable

    keep_failed_saves_short()
    reason = enable()
    if reason is not None:
        print(f"note    {reason}", file=sys.stderr)


def name_devices(devices: Sequence[Any] | None = None) -> None:
    """Print the devices (None: all of JAX) to standard error, as the first line of a command.

    Raises:
        ValueError: JAX was asked for devices that do not exist.
    """
    from gtn_jax.devices import data_mesh, in_words

    print(f"device  {in_words(data_mesh(devices))}", file=sys.stderr, flush=True)

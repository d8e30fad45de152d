"""What verbs say to a person: a line, a complaint, a table, a count; and where that goes.

The progress of a run is training/progress.py's.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any


def say(line: str) -> None:
    """A line on standard output, at once."""
    print(line, flush=True)


def print_error(line: str) -> None:
    """A line on standard error, at once."""
    print(f"error: {line}", file=sys.stderr, flush=True)


def aside(line: str) -> None:
    """A line on standard error, at once: for a person, where scripts read standard output."""
    print(line, file=sys.stderr, flush=True)


def show(table: Any) -> None:
    """A rich table; 80 columns wide where the output is no terminal."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 80).print("", table, "")


class Counting:
    """How far a job of many files is, on standard error: a bar for a person, else lines."""

    _SECONDS = 10.0

    def __init__(self, what: str):
        """Nothing is shown before the first `show`.

        Args:
            what: is counted, e.g. "files".
        """
        self._what, self._bar, self._task = what, None, None
        self._last = time.monotonic()

    def show(self, done: int, total: int) -> None:
        """So many are done, of so many."""
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
        """As a context it takes the bar down, whatever happens."""
        return self

    def __exit__(self, *exception: object) -> None:
        """The bar is gone; what comes next is the answer."""
        if self._bar is not None:
            self._bar.stop()


class SteadyStream:
    """A text stream whose writes never fail: from the first error on, they go nowhere.

    A run of hours must not end because its log's disk is full or `head` has seen enough.
    """

    def __init__(self, stream: Any):
        """Wrap a stream; None stands for one that was closed before this process began."""
        self._stream = stream
        self._error: OSError | None = None

    def failure(self) -> OSError | None:
        """Why something that was written so far has not arrived; None if all has."""
        self.flush()
        return self._error

    def write(self, text: str) -> int:
        """As the stream's own; what its encoding cannot say is written as an escape.

        The name of a file may be no text, and the locale may know no accents.
        """
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        shown = text.encode(encoding, "backslashreplace").decode(encoding)
        self._try(lambda stream: stream.write(shown))
        return len(text)

    def flush(self) -> None:
        """As the stream's own."""
        if self._stream is not None:
            self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Whether a person is watching."""
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's."""
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
        # What the stream still holds would fail again, and aloud, when Python exits.
        with contextlib.suppress(OSError, AttributeError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


@contextlib.contextmanager
def steady_output() -> Iterator[SteadyStream]:
    """Make standard output and standard error steady while the body runs.

    Yields:
        Standard output.
    """
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
    """Open what is closed of 0, 1 and 2.

    The next file to be opened would get that number, and whatever libraries write to standard
    error would go into a checkpoint.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)

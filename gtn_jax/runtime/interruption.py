"""SIGTERM and SIGINT: a run saves after the current step and ends; a second signal ends it at once.

Handlers never save (https://github.com/Lightning-AI/pytorch-lightning/issues/21406 shows why).
Where nothing can be lost they raise `Interrupted`; elsewhere they set a flag, which the training
loop reads. As Python runs handlers between bytecodes only, a thread also listens
(`signal.set_wakeup_fd`), so that a second signal works even during XLA compilation.

Handlers are installed only by `caught`, which the command line uses and `loop.run` does not. Does
not import jax.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EVALUATION_SECONDS = 20.0
"""How long an evaluation may continue after a signal; most end by then."""
_ONE_SIGNAL_SECONDS = 0.1
"""GNU `timeout` signals twice, the process and its group; within this time they count as one."""

Item = TypeVar("Item")


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int, detail: str = ""):
        super().__init__(f"interrupted by {signal.Signals(number).name}{detail}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """As shells report it: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number


class Interruption:
    """Signals received so far.

    Attributes:
        number: the first signal, or None.
        forwarded: a signal to be passed on to the primary process, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.forwarded: int | None = None
        self._since = 0.0
        self._deferred = False
        self._raised = False
        self._repeats: list[int] = []
        self._is_handled_here = True
        self._previous_hook = sys.unraisablehook

    @contextlib.contextmanager
    def deferring(self) -> Iterator[None]:
        """Inside, signals raise nothing; read `number` or call `check`."""
        before, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = before

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside `deferring`: code that may block; raises `Interrupted` at any point, or if a
        signal came before."""
        before, self._deferred = self._deferred, False
        try:
            self.check()
            yield
        finally:
            self._deferred = before

    def check_raised(self) -> None:
        """Raise `Interrupted` again after C++ or Orbax turned it into another error."""
        if self._raised:
            self.check()

    def leave_to_others(self) -> None:
        """From now on, a first signal only sets `forwarded`."""
        self._is_handled_here = False

    def receive(self, number: int) -> None:
        """Record a signal that another process received; raises nothing."""
        if self.number is None:
            self._record(number)

    def check(self, after_seconds: float = 0.0) -> None:
        """Raise `Interrupted` if a signal came at least this long ago."""
        if self.number is not None and time.monotonic() - self._since >= after_seconds:
            raise Interrupted(self.number)

    def _record(self, number: int) -> None:
        if not self._is_handled_here:
            self.forwarded = number
        elif self.number is None:
            self._since = time.monotonic()
            self.number = number

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler: in the main thread, between two bytecodes."""
        self._record(number)
        if not self._is_handled_here or self._deferred or self._raised:
            return
        if _is_importing(frame):  # C++ frames would print it and break the import
            self._repeat(number)
            return
        self._raised = True
        raise Interrupted(number)

    def _unraisable(self, dropped: "sys.UnraisableHookArgs") -> None:
        """The unraisable hook: Python drops exceptions in destructors and garbage collector
        callbacks, of which JAX has one."""
        if not isinstance(dropped.exc_value, Interrupted):
            self._previous_hook(dropped)
            return
        self._raised = False
        self._repeat(dropped.exc_value.number)

    def _repeat(self, number: int) -> None:
        """Send the signal again shortly."""
        self._repeats.append(number)
        threading.Timer(0.01, signal.pthread_kill, (threading.get_ident(), number)).start()

    def _listen(self, pipe: int) -> None:
        """In a thread: read a byte per signal."""
        first = None
        while received := os.read(pipe, 1):
            number = received[0]
            if number not in SIGNALS:
                continue
            if first is None:
                first = time.monotonic()
                self._record(number)
                if self._deferred and not self._raised:
                    name = signal.Signals(number).name
                    _print_error(f"{name}: saves and ends; a second one ends it at once")
            elif self._repeats:
                self._repeats.pop()
            elif time.monotonic() - first >= _ONE_SIGNAL_SECONDS:
                _print_error(
                    f"{signal.Signals(number).name} again: ended at once, nothing more saved"
                )
                os._exit(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


_active: Interruption | None = None


def active() -> Interruption:
    """The open `caught`, or an object that never receives a signal."""
    return Interruption() if _active is None else _active


@contextlib.contextmanager
def caught() -> Iterator[Interruption]:
    """Handle both signals inside; restores the previous handlers.

    Does nothing inside another `caught`, or outside the main thread, which alone may install
    handlers.
    """
    global _active
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield active()
        return
    interruption = Interruption()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # as set_wakeup_fd requires
    listener = threading.Thread(target=interruption._listen, args=(reading,), daemon=True)
    listener.start()
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _active = interruption
    before = {number: signal.signal(number, interruption._handle) for number in SIGNALS}
    sys.unraisablehook = interruption._unraisable
    try:
        yield interruption
    finally:
        sys.unraisablehook = interruption._previous_hook
        for number, handler in before.items():
            signal.signal(number, handler)
        _active = None
        signal.set_wakeup_fd(wakeup)
        os.close(writing)  # ends the listener
        listener.join()
        os.close(reading)


def until_interrupted(items: Iterable[Item]) -> Iterator[Item]:
    """Iterate; raises `Interrupted` between items, `EVALUATION_SECONDS` after a signal."""
    interruption = active()
    for item in items:
        interruption.check(EVALUATION_SECONDS)
        yield item


def leave_within(seconds: float, code: int) -> None:
    """End the process with `code` by then, even if a thread is blocked in a read."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


def _print_error(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())

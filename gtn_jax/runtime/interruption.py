"""SIGTERM and SIGINT: a run ends after the step at hand, saved; a second one ends it at once.

A handler never saves (https://github.com/Lightning-AI/pytorch-lightning/issues/21406 is what comes
of that). Where nothing can be lost it raises `Interrupted`; elsewhere it leaves a note, which the
training loop reads. Python runs handlers between bytecodes only, so a thread listens as well, by
`signal.set_wakeup_fd`: the second signal ends the process even while XLA compiles.

Signals belong to the process, and so does the one note here. Nothing is installed unless somebody
asks with `caught`: the command line does, `loop.run` does not. No jax here.
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
"""How long an evaluation may go on after a signal; most are over by then, and nothing is lost."""
_ONE_SIGNAL_SECONDS = 0.1
"""`timeout` of GNU coreutils sends its signal twice, to the process and to its group."""

Item = TypeVar("Item")


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int, detail: str = ""):
        """`detail` follows in the message: what is saved."""
        super().__init__(f"interrupted by {signal.Signals(number).name}{detail}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """What shells make of a process that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number


class Interruption:
    """The note.

    Attributes:
        number: of the first signal that came, or None.
        forwarded: of one that came to be passed on, or None.
    """

    def __init__(self) -> None:
        """None came yet."""
        self.number: int | None = None
        self.forwarded: int | None = None
        self._since = 0.0
        self._deferred = False
        self._raised = False
        self._repeats: list[int] = []
        self._is_ours = True
        self._drop = sys.unraisablehook

    @contextlib.contextmanager
    def deferring(self) -> Iterator[None]:
        """Inside, a signal raises nothing; whoever defers reads `number` or calls `check`."""
        before, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = before

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside `deferring`: what may take for ever, and may be left at any point.

        Raises:
            Interrupted: a signal came, now or before.
        """
        before, self._deferred = self._deferred, False
        try:
            self.check()
            yield
        finally:
            self._deferred = before

    def check_raised(self) -> None:
        """Raise once more what was raised and came out as another error: C++ and Orbax do that.

        Raises:
            Interrupted: a signal has raised it before.
        """
        if self._raised:
            self.check()

    def leave_to_others(self) -> None:
        """From now on a first signal is only noted, in `forwarded`, for somebody to pass on."""
        self._is_ours = False

    def receive(self, number: int) -> None:
        """Take a signal from somewhere else than the kernel; it raises nothing by itself."""
        if self.number is None:
            self._note(number)

    def check(self, after_seconds: float = 0.0) -> None:
        """Raise where a signal came at least so long ago.

        Raises:
            Interrupted: see above.
        """
        if self.number is not None and time.monotonic() - self._since >= after_seconds:
            raise Interrupted(self.number)

    def _note(self, number: int) -> None:
        if not self._is_ours:
            self.forwarded = number
        elif self.number is None:
            self._since = time.monotonic()
            self.number = number

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, between two bytecodes."""
        self._note(number)
        if not self._is_ours or self._deferred or self._raised:
            return
        if _is_importing(frame):  # C++ in between would print it, and end the import
            self._repeat(number)
            return
        self._raised = True
        raise Interrupted(number)

    def _dropped(self, dropped: "sys.UnraisableHookArgs") -> None:
        """Python drops what is raised in a destructor or in a callback of its garbage collector,
        of which JAX has one."""
        if not isinstance(dropped.exc_value, Interrupted):
            self._drop(dropped)
            return
        self._raised = False
        self._repeat(dropped.exc_value.number)

    def _repeat(self, number: int) -> None:
        """The signal once more, in a moment."""
        self._repeats.append(number)
        threading.Timer(0.01, signal.pthread_kill, (threading.get_ident(), number)).start()

    def _listen(self, pipe: int) -> None:
        """In a thread of its own: a byte a signal, as it comes."""
        first = None
        while received := os.read(pipe, 1):
            number = received[0]
            if number not in SIGNALS:
                continue
            if first is None:
                first = time.monotonic()
                self._note(number)
                if self._deferred and not self._raised:
                    name = signal.Signals(number).name
                    _complain(f"{name}: saves and ends; a second one ends it at once")
            elif self._repeats:
                self._repeats.pop()
            elif time.monotonic() - first >= _ONE_SIGNAL_SECONDS:
                _complain(f"{signal.Signals(number).name} again: ended at once, nothing more saved")
                os._exit(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


_active: Interruption | None = None


def active() -> Interruption:
    """The note of the `caught` that is open, or one on which nothing will ever be written."""
    return Interruption() if _active is None else _active


@contextlib.contextmanager
def caught() -> Iterator[Interruption]:
    """Take both signals over; afterwards they do what they did before.

    Inside another `caught`, and in any thread but the main one, which alone may install handlers,
    this changes nothing.
    """
    global _active
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield active()
        return
    interruption = Interruption()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # set_wakeup_fd wants it so
    listener = threading.Thread(target=interruption._listen, args=(reading,), daemon=True)
    listener.start()
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _active = interruption
    before = {number: signal.signal(number, interruption._handle) for number in SIGNALS}
    sys.unraisablehook = interruption._dropped
    try:
        yield interruption
    finally:
        sys.unraisablehook = interruption._drop
        for number, handler in before.items():
            signal.signal(number, handler)
        _active = None
        signal.set_wakeup_fd(wakeup)
        os.close(writing)  # which ends the listener
        listener.join()
        os.close(reading)


def until_interrupted(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, for an evaluation: it goes on for `EVALUATION_SECONDS` after a signal.

    Raises:
        Interrupted: that time is over; between two items.
    """
    interruption = active()
    for item in items:
        interruption.check(EVALUATION_SECONDS)
        yield item


def leave_within(seconds: float, code: int) -> None:
    """End the process with `code` then, if a thread that is stuck in a read keeps it alive."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


def _complain(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())

"""What Orbax says of a save that fails, for the command line: nothing, as checkpoints.py says it.

A full disk makes Orbax log a traceback from each of its threads, some 350 lines, and Python print
one for every write that ends after the others gave up. The first of them comes up to the caller in
any case, and becomes our error. Other errors of the same threads are not touched.
"""

import logging
import sys


def keep_failed_saves_short() -> None:
    """Once a process, before it saves; twice does no harm."""
    logger = logging.getLogger("absl")
    if any(isinstance(known, _FailedThread) for known in logger.filters):
        return
    logger.addFilter(_FailedThread())
    show = sys.unraisablehook

    def unraisablehook(unraisable) -> None:
        # Of a write that tells its event loop, which is gone, that it has ended.
        if str(unraisable.exc_value) != "Event loop is closed":
            show(unraisable)

    sys.unraisablehook = unraisablehook


class _FailedThread(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "_SignalingThread.run() raised" not in str(record.msg)

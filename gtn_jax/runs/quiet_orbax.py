"""Silence Orbax's own reports of failed saves, as checkpoints.py raises an error for them.

On a full disk, each Orbax thread logs a traceback, some 350 lines in total, and Python prints one
for every write that outlives the save. Other errors of these threads still print.
"""

import logging
import sys


def keep_failed_saves_short() -> None:
    """Install the filters, once per process; repeated calls do nothing."""
    logger = logging.getLogger("absl")
    if any(isinstance(known, _FailedThread) for known in logger.filters):
        return
    logger.addFilter(_FailedThread())
    show = sys.unraisablehook

    def unraisablehook(unraisable) -> None:
        # From a write that outlives its event loop.
        if str(unraisable.exc_value) != "Event loop is closed":
            show(unraisable)

    sys.unraisablehook = unraisablehook


class _FailedThread(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "_SignalingThread.run() raised" not in str(record.msg)

"""Failed saves are silenced, other errors are not."""

import logging
import sys
from types import SimpleNamespace

from gtn_jax.runs.quiet_orbax import _FailedThread, keep_failed_saves_short


def test_only_what_orbax_says_of_a_failed_thread_is_dropped(monkeypatch, caplog):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    logger = logging.getLogger("absl")
    # Another test of this process may have called it.
    others = [known for known in logger.filters if not isinstance(known, _FailedThread)]
    monkeypatch.setattr(logger, "filters", others)
    monkeypatch.setattr(logger, "propagate", True)
    keep_failed_saves_short()
    count = len(logger.filters)
    keep_failed_saves_short()
    assert len(logger.filters) == count
    with caplog.at_level(logging.ERROR, logger="absl"):
        logger.error("[process=%d] _SignalingThread.run() raised an exception: %s", 0, "full")
        logger.error("another error")
    assert [record.message for record in caplog.records] == ["another error"]

    closed = SimpleNamespace(exc_value=RuntimeError("Event loop is closed"))
    other = SimpleNamespace(exc_value=RuntimeError("Event loop is broken"))
    sys.unraisablehook(closed)
    sys.unraisablehook(other)
    assert shown == [other]

"""One folder, one trainer: a lock file that names its owner, and that a dead owner does not hold.

The kernel's `flock` on it ends with its process, however that ends. File systems that several
machines share may keep it among the processes of one machine, or not have it at all; so the owner
also touches the file every few seconds, and another machine looks for that. Readers ask nobody.
"""

import contextlib
import datetime
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCK_NAME = ".lock"
BEAT_SECONDS = 5.0
PATIENCE_SECONDS = 3 * BEAT_SECONDS
"""An owner on another machine that does not touch the file for so long is dead."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Own a folder, which is made where it is missing; the file is gone afterwards.

    If nothing was written into a folder that was made here, it is gone as well.

    Raises:
        ValueError: another process owns it, or nothing can be written there.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    file = folder / LOCK_NAME
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = _take(file)
        except OSError as error:
            raise ValueError(
                f"{folder}: nothing can be written there ({error.strerror}); "
                "choose another --workdir"
            ) from error
        over = threading.Event()
        beat = threading.Thread(target=_beat, args=(descriptor, over), daemon=True)
        beat.start()
        try:
            yield
        finally:
            over.set()
            beat.join()
            with contextlib.suppress(OSError):
                file.unlink()  # while it is ours
            os.close(descriptor)
    finally:
        for path in missing:
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()


def _take(file: Path) -> int:
    """Open, lock and sign the file; an open descriptor, which must stay open."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor, file)
            # The owner before may have removed what was opened here.
            if file.exists() and os.path.samestat(os.stat(descriptor), os.stat(file)):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, file: Path) -> None:
    is_locked = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(file, _owner(descriptor)) from None
    except OSError:  # no such thing in this file system
        is_locked = False
    owner = _owner(descriptor)
    if not owner:
        return
    if owner["host"] == socket.gethostname():
        # With the lock in hand it is dead; its number may be another process's by now.
        alive = not is_locked and _is_process(owner["pid"])
    else:
        alive = _is_touched(file)
    if alive:
        raise _in_use(file, owner)


def _in_use(file: Path, owner: dict[str, Any]) -> ValueError:
    who = "another process"
    if owner:
        who = f"pid {owner['pid']} on host {owner['host']}, since {owner['since']}"
    return ValueError(
        f"{file.parent} is in use by {who}.\n"
        f"Wait for it or end it, or choose another --workdir (its lock is {file.name} in there)"
    )


def _this_process() -> dict[str, Any]:
    since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _owner(descriptor: int) -> dict[str, Any]:
    """What the owner wrote; empty if it did not come so far."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return {"pid": int(found["pid"]), "host": str(found["host"]), "since": found["since"]}
    except (ValueError, KeyError, TypeError):
        return {}


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _is_touched(file: Path) -> bool:
    """Whether the owner touches the file while one waits; clocks need not agree for that."""
    before = _touched(file)
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        time.sleep(PATIENCE_SECONDS / 30)
        if _touched(file) != before:
            return True
    return False


def _touched(file: Path) -> int:
    with contextlib.suppress(OSError), file.open("rb") as opened:  # NFS asks its server on opening
        return os.fstat(opened.fileno()).st_mtime_ns
    return 0


def _beat(descriptor: int, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(descriptor)

"""One trainer per run folder: a lock that names its owner, and expires with it.

The kernel releases its lock on the folder when the process ends. Network file systems may support
such locks only within one machine, or not at all, so the owner also renews a lease, the file
`.lock`, every few seconds (https://py-filelock.readthedocs.io). Readers take no lock.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import SoftFileLease, Timeout, lock_descriptor

from gtn_jax.files import reason, sync

LOCK_NAME = ".lock"
LEASE_SECONDS = 15.0
"""Age at which the lease of an owner on another machine expires; the same in all versions."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created if missing, and removed again if left empty.

    Raises:
        ValueError: another process holds it, or nothing can be written there.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    with contextlib.ExitStack() as stack:
        for path in reversed(missing):
            stack.callback(_remove_if_empty, path)
        lease = SoftFileLease(folder / LOCK_NAME, lease_duration=LEASE_SECONDS)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            _take(lease, descriptor)
            stack.callback(lease.release)
            sync(folder / LOCK_NAME)
        except Timeout:
            raise _in_use(folder, lease) from None
        except OSError as error:
            raise ValueError(
                f"{folder}: nothing can be written there ({reason(error)}); "
                "choose another run folder"
            ) from error
        yield


def _take(lease: SoftFileLease, folder: int) -> None:
    is_free = True
    with contextlib.suppress(OSError):  # not supported by this file system
        is_free = lock_descriptor(folder, blocking=False)
    if not is_free:
        raise Timeout(lease.lock_file)
    # Immediate if the owner died on this machine; else after its lease expires.
    try:
        lease.acquire(timeout=1.2 * LEASE_SECONDS, poll_interval=LEASE_SECONDS / 30)
    except Timeout:
        if lease.owner is not None:
            raise
        lease.force_break()  # empty: its owner crashed while writing it
        lease.acquire(timeout=0)


def _in_use(folder: Path, lease: SoftFileLease) -> ValueError:
    owner, name = lease.owner, "another process"
    if owner is not None:
        # In a container, the PID namespace follows the host name.
        name = f"pid {owner.pid} on host {owner.hostname.partition('?pidns')[0]}"
    return ValueError(
        f"{folder} is in use by {name}.\n"
        f"Wait for it or end it, or choose another run folder (its lock is {LOCK_NAME} in there)"
    )


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()

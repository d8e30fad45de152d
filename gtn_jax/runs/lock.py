"""One folder, one trainer: a lock that names its owner, and that a dead owner does not hold.

The kernel's lock on the folder ends with its process, however that ends. File systems that several
machines share may keep it among the processes of one machine, or not have it at all; so the owner
also holds a lease, the file `.lock`, and renews it every few seconds
(https://py-filelock.readthedocs.io). Readers ask nobody.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import SoftFileLease, Timeout, lock_descriptor

from gtn_jax.files import reason, sync

LOCK_NAME = ".lock"
LEASE_SECONDS = 15.0
"""An owner on another machine that does not renew its lease for so long is dead. All versions of
this package must agree on it."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Own a folder, which is made where it is missing; the file is gone afterwards.

    If nothing was written into a folder that was made here, it is gone as well.

    Raises:
        ValueError: another process owns it, or nothing can be written there.
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
    with contextlib.suppress(OSError):  # no such thing in this file system
        is_free = lock_descriptor(folder, blocking=False)
    if not is_free:
        raise Timeout(lease.lock_file)
    # At once from a dead owner on this machine; from one on another once its lease is over.
    try:
        lease.acquire(timeout=1.2 * LEASE_SECONDS, poll_interval=LEASE_SECONDS / 30)
    except Timeout:
        if lease.owner is not None:
            raise
        lease.force_break()  # empty: of an owner whose machine failed while it wrote
        lease.acquire(timeout=0)


def _in_use(folder: Path, lease: SoftFileLease) -> ValueError:
    owner, who = lease.owner, "another process"
    if owner is not None:
        # In a container the name goes on with the namespace of its process numbers.
        who = f"pid {owner.pid} on host {owner.hostname.partition('?pidns')[0]}"
    return ValueError(
        f"{folder} is in use by {who}.\n"
        f"Wait for it or end it, or choose another run folder (its lock is {LOCK_NAME} in there)"
    )


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()

"""Files that a crash leaves whole: written, forced to the disk, then renamed into place.

A rename alone is atomic for who reads while the machine runs; after a power failure the name can
stand for an empty file unless file and folder were forced to the disk (fsync) before and after.
The standard library, and NumPy for its archives; no jax.
"""

import contextlib
import errno
import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gtn_jax.errors import one_line

TEMPORARY = ".tmp"
"""What the name of a half-written file ends in."""


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of a text in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file as a whole; raises as `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; at the end of the block, rename it to `path`.

    A reader sees the old file or the new one, and nothing is left of a block that fails.

    Raises:
        ValueError: it cannot be written.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        remove(temporary)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to write to; at the end of the block, rename it to `path`.

    The folder appears complete or not at all.

    Args:
        path: an empty folder, or absent in one that exists.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
        os.replace(partial, path)
    finally:
        remove(partial)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """`write_bytes` of a compressed .npz with these arrays; none of them may hold objects."""
    assert not any(np.asarray(array).dtype.hasobject for array in arrays.values())
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(path, content.getvalue())


def append_text(path: Path, text: str) -> None:
    """Add to the end of a file; `sync` makes what was added last.

    Raises:
        ValueError: it cannot be written; a part of `text` may stand there.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise not_written(path, error) from error


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        force(descriptor)
    finally:
        os.close(descriptor)


def force(descriptor: int) -> None:
    """As `sync`, of what is open already; nothing where a file system cannot do it of folders.

    Raises:
        OSError: the disk refuses.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there and as far as that works."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            pass


def check_writable(folder: Path) -> None:
    """Write a byte below `folder`, or below the first of its parents that exists, and remove it.

    Permissions do not tell: a folder can be read-only for root too, and its disk can be full.

    Raises:
        ValueError: nothing can be written there.
    """
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    probe = there / f".gtn_jax-{os.getpid()}{TEMPORARY}"
    try:
        with probe.open("wb") as file:
            file.write(b"\0")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ValueError(
            f"{folder}: nothing can be written to {there} ({reason(error)}); make room or "
            "allow it, or choose another folder"
        ) from error
    finally:
        remove(probe)


def not_written(path: Path, error: OSError) -> ValueError:
    """What to say about a file that could not be written."""
    if not path.parent.is_dir():
        return ValueError(
            f"{path.parent} has vanished while it was in use, {path.name} could not be written; "
            "bring it back or begin again"
        )
    return ValueError(
        f"{path}: could not be written ({reason(error)}); make room or mend the disk, "
        "then the same command goes on"
    )


def reason(error: BaseException) -> str:
    """What the operating system said, from under whatever was raised because of it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        # tensorstore's words.
        known = re.search(r"os_error_code='(\d+)'", str(cause))
        if known:
            return os.strerror(int(known[1]))
        cause = cause.__cause__ or cause.__context__
    return one_line(error)

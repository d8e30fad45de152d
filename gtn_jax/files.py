"""Crash-safe files: written under a temporary name, fsynced, then renamed into place.

A rename is atomic for concurrent readers, but survives a power failure only if file and folder were
fsynced. Does not import jax.
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
"""Suffix of incomplete files."""


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically; raises like `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends.

    Readers see the old file or the new one, and a block that fails leaves nothing behind. Raises
    ValueError if the file cannot be written.
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
    """Yield a temporary folder, renamed to `path`, an empty or new folder, when the block ends."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
        os.replace(partial, path)
    finally:
        remove(partial)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """`write_bytes` of a compressed .npz; object arrays are not allowed."""
    assert not any(np.asarray(array).dtype.hasobject for array in arrays.values())
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(path, content.getvalue())


def append_text(path: Path, text: str) -> None:
    """Append to a file (ValueError if it cannot be written); `sync` makes the text durable."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise not_written(path, error) from error


def sync(path: Path) -> None:
    """Fsync a file, or a folder's entries; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        force(descriptor)
    finally:
        os.close(descriptor)


def force(descriptor: int) -> None:
    """`sync` for an open descriptor; does nothing where the file system cannot fsync folders."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def remove(path: Path) -> None:
    """Remove a file or folder if it exists; errors are ignored."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Write and remove a byte in `folder`, or in its closest parent that exists.

    Permissions do not tell: root can face a read-only mount, and a disk can be full. Raises
    ValueError.
    """
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    probe = existing / f".gtn_jax-{os.getpid()}{TEMPORARY}"
    try:
        with probe.open("wb") as file:
            file.write(b"\0")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ValueError(
            f"{folder}: nothing can be written to {existing} ({reason(error)}); make room or "
            "allow it, or choose another folder"
        ) from error
    finally:
        remove(probe)


def not_written(path: Path, error: OSError) -> ValueError:
    """The error for a file that could not be written."""
    if not path.parent.is_dir():
        return ValueError(
            f"{path.parent} has vanished while it was in use, {path.name} could not be written; "
            "bring it back or begin again"
        )
    return ValueError(
        f"{path}: could not be written ({reason(error)}); make room or mend the disk, "
        "then the same command resumes"
    )


def reason(error: BaseException) -> str:
    """The operating system's message at the root of an exception chain, else its first line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        # As TensorStore formats it.
        match = re.search(r"os_error_code='(\d+)'", str(cause))
        if match:
            return os.strerror(int(match[1]))
        cause = cause.__cause__ or cause.__context__
    return one_line(error)

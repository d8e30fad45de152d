"""`digests.json`: length and SHA-256 of the files in a run folder, to detect accidental damage.

A flipped bit in a small JSON file may still parse and mean another preprocessing or class.
`digests.json` names each file with its digest (as `sha256sum` prints it) and carries a digest of
itself; `manifest.json` of a saved step uses the same format (manifest.py).

Writers remove the digest of a file before they change it and add the new one afterwards. So
whenever a process is killed, a file has its own digest or none, and a concurrent reader sees no
false damage. Standard library only.
"""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gtn_jax.files import write_text

NAME = "digests.json"
_FORMAT = 1
_FINISHED = ("summary.json", "predictions.npz")


class Digest(NamedTuple):
    """Length in bytes and SHA-256 in hexadecimal of a file's content."""

    bytes: int
    sha256: str


def of_bytes(content: bytes) -> Digest:
    """The digest of a file with this content."""
    return Digest(len(content), hashlib.sha256(content).hexdigest())


def of_file(path: Path, name: str, force: bool = False) -> Digest:
    """The digest of a file, called `name` in errors; `force` also fsyncs it.

    Raises OSError if it cannot be read or synced, and ValueError if it is not a regular file.
    """
    # The target of a link can change; opening a pipe blocks.
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise ValueError(f"{name} is not a regular file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        if force:
            os.fsync(file.fileno())
    return Digest(size, digest)


def difference(name: str, actual: Digest, expected: Digest) -> str | None:
    """How a file differs from what was written, or None."""
    if actual.bytes != expected.bytes:
        return f"{name} is {actual.bytes:,} bytes long, {expected.bytes:,} were written"
    if actual.sha256 != expected.sha256:
        return f"{name} has changed on disk (its digest differs)"
    return None


def sealed(tree: Mapping[str, Any]) -> str:
    """`tree` as JSON, with a digest of the rest as its last entry."""
    digest = hashlib.sha256(json.dumps(tree).encode()).hexdigest()
    return json.dumps({**tree, "sha256": digest}, indent=1) + "\n"


def unsealed(content: bytes, name: str, newest_format: int) -> dict[str, Any]:
    """The inverse of `sealed`, after verifying the digest; `name` is for errors.

    Raises ValueError if it is damaged, or of a format newer than `newest_format`.
    """
    version = None
    try:
        tree = json.loads(content)
        version = tree["format"]
        tree.pop("sha256", None)
        # Byte for byte: any other formatting is not ours.
        if version == newest_format and sealed(tree).encode() == content:
            return tree
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    if isinstance(version, int) and version > newest_format:
        raise ValueError(f"{name} is of format {version}, which only a newer version can read")
    raise ValueError(f"{name} has changed on disk")


def to_tree(files: Mapping[str, Digest]) -> dict[str, Any]:
    """Digests by file name, as JSON."""
    return {name: files[name]._asdict() for name in sorted(files)}


def from_tree(tree: Any) -> dict[str, Digest]:
    """The inverse of `to_tree`; ValueError for another tree."""
    try:
        files = {name: Digest(entry["bytes"], entry["sha256"]) for name, entry in tree.items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("no digests of files") from error
    if not all(isinstance(size, int) and isinstance(text, str) for size, text in files.values()):
        raise ValueError("no digests of files")
    return files


def read(folder: Path) -> dict[str, Digest] | None:
    """Digests in a folder's `digests.json`, None without one (older versions); ValueError if
    damaged."""
    path = folder / NAME
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    tree = {}
    try:
        tree = unsealed(content, str(path), _FORMAT)
        return from_tree(tree["files"])
    except (ValueError, KeyError) as error:
        reason = f"{path} has changed on disk" if tree else str(error)
        raise ValueError(
            f"{reason}; put it back from a copy, or remove it to go on without digests"
        ) from error


def write(folder: Path, files: Mapping[str, Digest]) -> None:
    """Write a folder's `digests.json` durably; ValueError if it cannot be written."""
    tree = {"format": _FORMAT, "files": to_tree(files)}
    write_text(folder / NAME, sealed(tree))


def read_file(path: Path) -> tuple[bytes, bool]:
    """The content of a file, and whether it was verified against a digest.

    Raises:
        OSError: it cannot be read, or has neither content nor digest.
        ValueError: it differs from its digest or is missing, or `digests.json` is damaged.
    """
    name = str(path)
    while True:
        known = read(path.parent)
        wanted = (known or {}).get(path.name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            if wanted is None:
                raise
            problem = f"{name} is missing"
        else:
            if wanted is None:
                return content, False
            problem = difference(name, of_bytes(content), wanted)
            if problem is None:
                return content, True
        # Otherwise another process is replacing it: read again.
        if read(path.parent) == known:
            or_retrain = ", or remove summary.json: the same `gtn train` then makes both anew"
            raise ValueError(
                f"{problem}; put it back from a copy{or_retrain if path.name in _FINISHED else ''}"
            )


def verify(folder: Path) -> dict[str, str | None]:
    """Each file in `digests.json` -> what is wrong with it, or None; raises like `read`."""
    problems: dict[str, str | None] = {}
    for name in read(folder) or {}:
        try:
            read_file(folder / name)
            problems[name] = None
        except ValueError as error:
            problems[name] = str(error).removeprefix(f"{folder}{os.sep}").partition("; ")[0]
        except OSError as error:
            problems[name] = f"{name} cannot be read ({error.strerror})"
    return problems


_noted: list[Path] = []


class SealedFiles:
    """The small files of one folder with their digests; creating the object does no I/O.

    All methods raise ValueError if `digests.json` is damaged, and writers if a file cannot be
    written.

    Args:
        folder: need not exist.
        writes: False: write nothing.
        growing: names of files that need no digest.
    """

    def __init__(self, folder: Path, writes: bool, growing: Sequence[str]):
        self._folder, self._writes, self._growing = folder, writes, growing

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None if it does not exist. Reports a missing digest once.

        Raises:
            ValueError: damaged, missing despite its digest, or unreadable.
        """
        path = self._folder / name
        try:
            content, has_digest = read_file(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ValueError(f"{path}: not readable ({error})") from error
        # One note per process, however many old runs it reads.
        if not has_digest and name not in self._growing and not _noted:
            _noted.append(path)
            print(
                f"note    {path} has no digest, as an older version wrote it: damage to it would "
                "not be seen",
                file=sys.stderr,
                flush=True,
            )
        return content

    def was_written(self, name: str, text: str) -> bool:
        """Whether `text` was written to this file, according to its digest alone."""
        return (read(self._folder) or {}).get(name) == of_bytes(text.encode())

    def replace(self, texts: Mapping[str, str], without: Sequence[str] = ()) -> None:
        """Write name -> content, in this order, and digests; up-to-date files are not touched.

        The digests of the files in `without` are removed.
        """
        if not self._writes:
            return
        new = {name: of_bytes(text.encode()) for name, text in texts.items()}
        known = read(self._folder) or {}
        valid = {
            name: digest
            for name, digest in known.items()
            if name not in without and new.get(name, digest) == digest
        }
        if valid != known:
            write(self._folder, valid)
        for name, text in texts.items():
            path = self._folder / name
            if not (path.is_file() and path.read_bytes() == text.encode()):
                write_text(path, text)
        if not valid.items() >= new.items():
            write(self._folder, valid | new)

    def unsealed(self, names: Sequence[str]) -> list[str]:
        """Which of these files exist and have no digest."""
        known = read(self._folder) or {}
        return [name for name in names if name not in known and (self._folder / name).is_file()]

    def seal(self, names: Sequence[str]) -> None:
        """Add digests for the `unsealed` ones of these files."""
        missing = self.unsealed(names) if self._writes else []
        if missing:
            added = {name: of_file(self._folder / name, name) for name in missing}
            write(self._folder, (read(self._folder) or {}) | added)

"""`digests.json` of a folder: what is read is what was written, or it is said which file is not.

A flipped bit in a small file of a run may still parse, and then means another preprocessing or
another class. So `digests.json` names each file of its folder with its length and SHA-256
(`sha256sum` gives the same), and carries a digest of itself; `manifest.json` of a saved step is
built of the same parts (manifest.py). The digests are there against accidents: who can change a
file can change its digest. Only the standard library; sealed_files.py keeps both in step.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gtn_jax.files import write_text

NAME = "digests.json"
_FORMAT = 1
_FINISHED = ("summary.json", "predictions.npz")


class Digest(NamedTuple):
    """What tells one content of a file from every other.

    Attributes:
        bytes: how many.
        sha256: in hexadecimal.
    """

    bytes: int
    sha256: str


def of_bytes(content: bytes) -> Digest:
    """Of a file of this content."""
    return Digest(len(content), hashlib.sha256(content).hexdigest())


def of_file(path: Path, name: str, force: bool = False) -> Digest:
    """Of a file.

    Args:
        path: of the file.
        name: what an error calls it.
        force: it to the disk, too.

    Raises:
        OSError: it cannot be read, or the disk refuses.
        ValueError: it is not a regular file.
    """
    # A link could change its file later; opening a pipe would wait for ever.
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise ValueError(f"{name} is not a regular file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        if force:
            os.fsync(file.fileno())
    return Digest(size, digest)


def difference(name: str, found: Digest, wanted: Digest) -> str | None:
    """What to say of a file that is not as it was written; None if it is."""
    if found.bytes != wanted.bytes:
        return f"{name} is {found.bytes:,} bytes long, {wanted.bytes:,} were written"
    if found.sha256 != wanted.sha256:
        return f"{name} has changed on disk (its digest differs)"
    return None


def sealed(tree: Mapping[str, Any]) -> str:
    """JSON of `tree` and, as its last entry, of a digest of the rest."""
    digest = hashlib.sha256(json.dumps(tree).encode()).hexdigest()
    return json.dumps({**tree, "sha256": digest}, indent=1) + "\n"


def unsealed(content: bytes, name: str, newest_format: int) -> dict[str, Any]:
    """The tree that `sealed` made `content` of.

    Args:
        content: of the file.
        name: what an error calls it.
        newest_format: the `format` that this version writes.

    Raises:
        ValueError: of a newer format, or not what `sealed` wrote.
    """
    version = None
    try:
        tree = json.loads(content)
        version = tree["format"]
        tree.pop("sha256", None)
        # Whatever differs from how it was written, even by a space, did not happen by design.
        if version == newest_format and sealed(tree).encode() == content:
            return tree
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    if isinstance(version, int) and version > newest_format:
        raise ValueError(f"{name} is of format {version}, which only a newer version can read")
    raise ValueError(f"{name} has changed on disk")


def to_tree(files: Mapping[str, Digest]) -> dict[str, Any]:
    """Name -> bytes and sha256, as JSON holds them."""
    return {name: files[name]._asdict() for name in sorted(files)}


def from_tree(tree: Any) -> dict[str, Digest]:
    """What `to_tree` made `tree` of.

    Raises:
        ValueError: something else.
    """
    try:
        files = {name: Digest(entry["bytes"], entry["sha256"]) for name, entry in tree.items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("no digests of files") from error
    if not all(isinstance(size, int) and isinstance(text, str) for size, text in files.values()):
        raise ValueError("no digests of files")
    return files


def read(folder: Path) -> dict[str, Digest] | None:
    """What the `digests.json` of a folder names; None if it has none (an older version's).

    Raises:
        ValueError: it is not as it was written, or of a newer version.
    """
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
    """Write the `digests.json` of a folder, as durably as a file can be.

    Raises:
        ValueError: it cannot be written.
    """
    tree = {"format": _FORMAT, "files": to_tree(files)}
    write_text(folder / NAME, sealed(tree))


def read_file(path: Path) -> tuple[bytes, bool]:
    """The content of a file, and whether its folder has a digest of it.

    Raises:
        OSError: it cannot be read; not there, without a digest.
        ValueError: it is not as it was written, or gone; or `read` refuses.
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
        # Unless somebody is replacing it at this moment.
        if read(path.parent) == known:
            anew = ", or remove summary.json: the same `gtn train` then makes both anew"
            raise ValueError(
                f"{problem}; put it back from a copy{anew if path.name in _FINISHED else ''}"
            )


def verify(folder: Path) -> dict[str, str | None]:
    """Each file that `digests.json` names -> what is wrong with it, or None.

    Raises:
        ValueError: as `read`.
    """
    found: dict[str, str | None] = {}
    for name in read(folder) or {}:
        try:
            read_file(folder / name)
            found[name] = None
        except ValueError as error:
            found[name] = str(error).removeprefix(f"{folder}{os.sep}").partition("; ")[0]
        except OSError as error:
            found[name] = f"{name} cannot be read ({error.strerror})"
    return found

"""`manifest.json` of a saved step: the digest of every file in it, and what the step holds.

Orbax's arrays carry no checksum: a bit that flips on the disk is restored as another weight,
without a word. So the last file written into the folder of a step names every other one with its
length and SHA-256 (`sha256sum` gives the same), and a step counts only if all still agree. What it
says itself is checked too. Only the standard library; checkpoint.py decides what to do.
"""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from gtn_jax.training import durable

NAME = "manifest.json"
_FORMAT = 1
_MAX_BYTES = 64 * 2**20


class Manifest(NamedTuple):
    """What a manifest says.

    Attributes:
        step: of training, which is the folder's name too.
        accuracy: on the split that selects, 0..1; None if the step was not evaluated.
        arrays: name of an array in the state -> its dtype and shape, "float32 3x3x8x16".
        files: relative name -> (bytes, SHA-256 in hexadecimal).
    """

    step: int
    accuracy: float | None
    arrays: dict[str, str]
    files: dict[str, tuple[int, str]]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(size for size, _ in self.files.values())


def seal(folder: Path, step: int, accuracy: float | None, arrays: dict[str, str]) -> None:
    """Force every file in `folder` to the disk, then write its manifest.

    Args:
        folder: of a step that is complete otherwise.
        step: of training.
        accuracy: 0..1, or None.
        arrays: see `Manifest`.

    Raises:
        OSError: the disk refuses.
        ValueError: the disk refuses to take the manifest, or a file is none.
    """
    files = _digests(folder, force=True)
    durable.write_text(folder / NAME, _text(Manifest(step, accuracy, arrays, files)))


def read(folder: Path) -> Manifest:
    """The manifest of a step, without looking at the files that it names.

    Raises:
        ValueError: there is none, or it is not as it was written; the message goes on after
            "checkpoint 7: ".
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            found = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError(
            f"it has no {NAME}: not saved to the end, or by an older version"
        ) from None
    except OSError as error:
        raise ValueError(f"{NAME} cannot be read ({error.strerror})") from error
    manifest, intact = None, False
    try:
        tree = json.loads(found[:_MAX_BYTES])
        version = tree["format"]
        if isinstance(version, int) and version > _FORMAT:
            raise _Newer(f"{NAME} is of format {version}, which only a newer version can read")
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in tree["files"].items()}
        manifest = Manifest(tree["step"], tree["accuracy"], tree["arrays"], files)
        # Whatever differs from how it was written, even by a space, did not happen by design.
        intact = _has_types(manifest) and _text(manifest).encode() == found
    except _Newer:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    if manifest is None or not intact:
        raise ValueError(f"{NAME} has changed on disk")
    if str(manifest.step) != folder.name:
        raise ValueError(f"{NAME} is that of step {manifest.step}")
    return manifest


def verify(folder: Path) -> Manifest:
    """The manifest of a step whose every file is as it was written.

    Raises:
        ValueError: as `read`, or a file differs, is missing or too many; the first one is named.
    """
    manifest = read(folder)
    try:
        found = _digests(folder)
    except OSError as error:
        where = os.path.relpath(error.filename, folder) if error.filename else "a file"
        raise ValueError(f"{where} cannot be read ({error.strerror})") from error
    for name in sorted(manifest.files.keys() | found.keys()):
        if name not in found:
            raise ValueError(f"{name} is missing")
        if name not in manifest.files:
            raise ValueError(f"{name} does not belong there; move it away")
        (size, digest), (wanted_size, wanted) = found[name], manifest.files[name]
        if size != wanted_size:
            raise ValueError(f"{name} is {size:,} bytes long, {wanted_size:,} were written")
        if digest != wanted:
            raise ValueError(f"{name} has changed on disk (its digest differs)")
    return manifest


class _Newer(ValueError):
    """A manifest that this version does not know how to read."""


def _has_types(manifest: Manifest) -> bool:
    """JSON can hold anything; a digest in it only tells that it was meant."""
    return (
        isinstance(manifest.step, int)
        and isinstance(manifest.accuracy, int | float | None)
        and all(isinstance(value, str) for value in manifest.arrays.values())
        and all(isinstance(b, int) and isinstance(d, str) for b, d in manifest.files.values())
    )


def _digests(folder: Path, force: bool = False) -> dict[str, tuple[int, str]]:
    """Every file below `folder` but the manifest; `force`: fsync files and folders on the way."""
    found = {}
    for path, folders, files in os.walk(folder, topdown=False, onerror=_raise):
        for name in folders:
            if os.path.islink(os.path.join(path, name)):
                raise ValueError(f"{os.path.relpath(os.path.join(path, name), folder)} is a link")
        for name in files:
            file = Path(path, name)
            relative = str(file.relative_to(folder))
            if relative != NAME:
                found[relative] = _digest(file, relative, force)
        if force:
            durable.sync(Path(path))
    return found


def _digest(path: Path, name: str, force: bool) -> tuple[int, str]:
    # A link could change its file later; opening a pipe would wait for ever.
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise ValueError(f"{name} is no regular file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        if force:
            os.fsync(file.fileno())
    return size, digest


def _raise(error: OSError) -> None:
    raise error


def _text(manifest: Manifest) -> str:
    tree: dict[str, Any] = {
        "format": _FORMAT,
        "step": manifest.step,
        "accuracy": manifest.accuracy,
        "arrays": manifest.arrays,
        "files": {n: {"bytes": b, "sha256": d} for n, (b, d) in sorted(manifest.files.items())},
    }
    digest = hashlib.sha256(json.dumps(tree).encode()).hexdigest()
    return json.dumps({**tree, "sha256": digest}, indent=1) + "\n"

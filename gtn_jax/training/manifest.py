"""`manifest.json` of a saved step: the digest of every file in it, and what the step holds.

Orbax's arrays carry no checksum: a bit that flips on the disk is restored as another weight,
without a word. So the last file written into the folder of a step names every other one with its
length and SHA-256 (`sha256sum` gives the same), and a step counts only if all still agree. What it
says itself is checked too. Only the standard library; checkpoint.py decides what to do.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from gtn_jax.files import sync, write_text
from gtn_jax.training import digests
from gtn_jax.training.digests import Digest

NAME = "manifest.json"
_FORMAT = 1
_MAX_BYTES = 64 * 2**20


class Manifest(NamedTuple):
    """What a manifest says.

    Attributes:
        step: of training, which is the folder's name too.
        accuracy: on the split that selects, 0..1; None if the step was not evaluated.
        arrays: name of an array in the state -> its dtype and shape, "float32 3x3x8x16".
        files: relative name -> its digest.
        score: what selects the step, the higher the better; None if it was not evaluated.
    """

    step: int
    accuracy: float | None
    arrays: dict[str, str]
    files: dict[str, Digest]
    score: float | None

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(size for size, _ in self.files.values())


def seal(
    folder: Path,
    step: int,
    accuracy: float | None,
    arrays: dict[str, str],
    score: float | None = None,
) -> None:
    """Force every file in `folder` to the disk, then write its manifest.

    Args:
        folder: of a step that is complete otherwise.
        step: of training.
        accuracy: 0..1, or None.
        arrays: see `Manifest`.
        score: see `Manifest`; None: the accuracy.

    Raises:
        OSError: the disk refuses.
        ValueError: the disk refuses to take the manifest, or a file is none.
    """
    files = _digests(folder, force=True)
    score = accuracy if score is None else score
    write_text(folder / NAME, _text(Manifest(step, accuracy, arrays, files, score)))


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
    if len(found) > _MAX_BYTES:
        raise ValueError(f"{NAME} has changed on disk")
    tree = digests.unsealed(found, NAME, _FORMAT)
    manifest = None
    try:
        files = digests.from_tree(tree["files"])
        accuracy = tree["accuracy"]
        # Up to 0.1.0 accuracy was what selects.
        score = tree.get("score", accuracy)
        manifest = Manifest(tree["step"], accuracy, tree["arrays"], files, score)
    except (ValueError, KeyError):
        pass
    if manifest is None or not _has_types(manifest):
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
        problem = digests.difference(name, found[name], manifest.files[name])
        if problem is not None:
            raise ValueError(problem)
    return manifest


def _has_types(manifest: Manifest) -> bool:
    """JSON can hold anything; a digest in it only tells that it was meant."""
    return (
        isinstance(manifest.step, int)
        and isinstance(manifest.accuracy, int | float | None)
        and isinstance(manifest.score, int | float | None)
        and isinstance(manifest.arrays, dict)
        and all(isinstance(value, str) for value in manifest.arrays.values())
    )


def _digests(folder: Path, force: bool = False) -> dict[str, Digest]:
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
                found[relative] = digests.of_file(file, relative, force)
        if force:
            sync(Path(path))
    return found


def _raise(error: OSError) -> None:
    raise error


def _text(manifest: Manifest) -> str:
    tree: dict[str, Any] = {
        "format": _FORMAT,
        "step": manifest.step,
        "accuracy": manifest.accuracy,
        "score": manifest.score,
        "arrays": manifest.arrays,
        "files": digests.to_tree(manifest.files),
    }
    return digests.sealed(tree)

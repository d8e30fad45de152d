"""`manifest.json` of a saved step: the digest of every file, and what the step contains.

Orbax's arrays have no checksums, so a bit flipped on disk would load as another weight. The
manifest is written last and names every other file with its digest; a step counts only while all of
them match. Standard library only.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from gtn_jax.files import sync, write_text
from gtn_jax.runs import digests
from gtn_jax.runs.digests import Digest

NAME = "manifest.json"
_FORMAT = 1
_MAX_BYTES = 64 * 2**20


class Manifest(NamedTuple):
    """Contents of a manifest.

    Attributes:
        step: of training; also the folder's name.
        accuracy: on the split that selects, 0..1; None if the step was not evaluated.
        arrays: name of an array in the state -> dtype and shape, "float32 3x3x8x16".
        files: relative name -> digest.
        score: selects the best step, higher is better; None if the step was not evaluated.
    """

    step: int
    accuracy: float | None
    arrays: dict[str, str]
    files: dict[str, Digest]
    score: float | None

    @property
    def bytes(self) -> int:
        """Total size of the files."""
        return sum(size for size, _ in self.files.values())


def seal(
    folder: Path,
    step: int,
    accuracy: float | None,
    arrays: dict[str, str],
    score: float | None = None,
) -> None:
    """Fsync every file in `folder`, then write its manifest; see `Manifest`.

    `score` defaults to the accuracy. Raises OSError or ValueError if the disk refuses or something
    is not a regular file.
    """
    files = _digests(folder, force=True)
    score = accuracy if score is None else score
    write_text(folder / NAME, _text(Manifest(step, accuracy, arrays, files, score)))


def read(folder: Path) -> Manifest:
    """The manifest of a step, files not verified; its ValueError continues "checkpoint 7: "."""
    path = folder / NAME
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError(
            f"it has no {NAME}: not saved to the end, or by an older version"
        ) from None
    except OSError as error:
        raise ValueError(f"{NAME} cannot be read ({error.strerror})") from error
    if len(content) > _MAX_BYTES:
        raise ValueError(f"{NAME} has changed on disk")
    tree = digests.unsealed(content, NAME, _FORMAT)
    manifest = None
    try:
        files = digests.from_tree(tree["files"])
        accuracy = tree["accuracy"]
        # Up to 0.1.0, accuracy was the score.
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
    """The manifest of a step, after verifying every file.

    Raises ValueError for a damaged manifest, or the first file that differs, is missing or
    unexpected.
    """
    manifest = read(folder)
    try:
        actual = _digests(folder)
    except OSError as error:
        where = os.path.relpath(error.filename, folder) if error.filename else "a file"
        raise ValueError(f"{where} cannot be read ({error.strerror})") from error
    for name in sorted(manifest.files.keys() | actual.keys()):
        if name not in actual:
            raise ValueError(f"{name} is missing")
        if name not in manifest.files:
            raise ValueError(f"{name} does not belong there; move it away")
        problem = digests.difference(name, actual[name], manifest.files[name])
        if problem is not None:
            raise ValueError(problem)
    return manifest


def _has_types(manifest: Manifest) -> bool:
    """A correct digest does not imply the right types."""
    return (
        isinstance(manifest.step, int)
        and isinstance(manifest.accuracy, int | float | None)
        and isinstance(manifest.score, int | float | None)
        and isinstance(manifest.arrays, dict)
        and all(isinstance(value, str) for value in manifest.arrays.values())
    )


def _digests(folder: Path, force: bool = False) -> dict[str, Digest]:
    """Digests of all files in `folder` but the manifest; `force`: fsync files and folders."""
    digest_of = {}
    for path, folders, files in os.walk(folder, topdown=False, onerror=_raise):
        for name in folders:
            if os.path.islink(os.path.join(path, name)):
                raise ValueError(f"{os.path.relpath(os.path.join(path, name), folder)} is a link")
        for name in files:
            file = Path(path, name)
            relative = str(file.relative_to(folder))
            if relative != NAME:
                digest_of[relative] = digests.of_file(file, relative, force)
        if force:
            sync(Path(path))
    return digest_of


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

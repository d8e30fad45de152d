"""The folders of saved steps in `checkpoints/`: which exist, which are intact, which are deleted.

A step is a folder named by its number, and counts if its files match its manifest (manifest.py).
`7.saving` is being written and `7.deleting` being removed; a crash leaves nothing else behind.
Every change is one rename, so there is always an intact step after the first save. Latest and best
are read from disk. Standard library only.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from gtn_jax import files
from gtn_jax.runs import manifest
from gtn_jax.runs.manifest import Manifest

_SAVING, _DELETING = ".saving", ".deleting"
# Orbax appends to the names of incomplete folders.
_LEFTOVER = re.compile(rf"\d+({_SAVING}|{_DELETING})(\..*)?")
_LATEST_KEPT = 2
# More than once: writes in flight when their save failed recreate its folder.
_CLEAR_UP_TIMES, _CLEAR_UP_SECONDS = 10, 0.05


class StepFolders:
    """The steps of one run, as they are on disk; creating the object does no I/O.

    Args:
        folder: `checkpoints/`.
        say: takes a line about an unusable step.

    Attributes:
        folder: `checkpoints/`.
        whole: steps that this object has committed or verified.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]):
        self.folder = folder
        self.whole: set[int] = set()
        self._say = say
        self._broken: set[int] = set()
        self._descriptor: int | None = None

    def path(self, step: int) -> Path:
        """The folder of a step."""
        return self.folder / str(step)

    def saving_path(self, step: int) -> Path:
        """The folder that a step is written to before it is committed."""
        return self.folder / f"{step}{_SAVING}"

    def steps(self) -> list[int]:
        """All steps, intact or not, ascending."""
        if not self.folder.is_dir():
            return []
        names = (path.name for path in self.folder.iterdir() if path.is_dir())
        return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)

    def usable(self) -> list[int]:
        """All steps not known to be damaged, ascending."""
        return [step for step in self.steps() if step not in self._broken]

    def latest(self) -> int | None:
        """The newest intact step, or None without steps; ValueError if all are damaged."""
        return self._first_whole(self.steps()[::-1])

    def best(self) -> int | None:
        """The intact step of highest score (of ties the later), or None; ValueError if all are
        damaged."""
        scores, unknown = self._scores(self.steps())
        ranked = _by_score(scores)
        return self._first_whole([*unknown, *ranked], "evaluated checkpoint") if ranked else None

    def open(self) -> None:
        """Create the folder (raises ValueError), and remove leftovers of an interrupted save."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.sync(self.folder.parent)
            self._descriptor = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise files.not_written(self.folder, error) from error
        self._remove_leftovers()

    def close(self) -> None:
        """Release the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def clear_up(self) -> bool:
        """Remove what a failed save left behind, and what its last writes may still create.

        Returns whether the folder itself has vanished; what Orbax created in its place is removed.
        """
        has_vanished = False
        for _ in range(_CLEAR_UP_TIMES):
            has_vanished = has_vanished or not self._is_there()
            self._remove_leftovers()
            if has_vanished:
                with contextlib.suppress(OSError):
                    self.folder.rmdir()
                with contextlib.suppress(OSError):
                    self.folder.parent.rmdir()
            time.sleep(_CLEAR_UP_SECONDS)
        return has_vanished

    def _is_there(self) -> bool:
        assert self._descriptor is not None
        try:
            return os.path.samestat(self.folder.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def _remove_leftovers(self) -> None:
        """Remove incomplete folders; errors are ignored."""
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if _LEFTOVER.fullmatch(path.name):
                    files.remove(path)

    def commit(
        self,
        step: int,
        accuracy: float | None,
        arrays: dict[str, str],
        score: float | None = None,
    ) -> None:
        """Commit a step that is complete under `saving_path`; see `Manifest`. Requires `open`.

        `score` defaults to the accuracy. Raises OSError or ValueError if the disk refuses.
        """
        assert self._descriptor is not None
        saved, here = self.saving_path(step), self._descriptor
        manifest.seal(saved, step, accuracy, arrays, score)
        # Exists only if training resumed from before a damaged step.
        self._discard(step)
        # Relative to the open folder, which may have been replaced under its name.
        os.rename(saved.name, str(step), src_dir_fd=here, dst_dir_fd=here)
        files.force(here)
        self._broken.discard(step)

    def prune(self) -> None:
        """Keep the two latest steps and the best; OSError if the disk refuses. Call it after
        `commit`."""
        scores, _ = self._scores(self.usable())
        keep = {*sorted(scores)[-_LATEST_KEPT:], *_by_score(scores)[:1]}
        for step in self.steps():
            if step not in keep:
                self._discard(step)

    def _scores(self, steps: list[int]) -> tuple[dict[int, float | None], list[int]]:
        """Scores of these steps from their manifests, and steps without a readable one."""
        scores, unknown = {}, []
        for step in steps:
            try:
                scores[step] = manifest.read(self.path(step)).score
            except ValueError:
                unknown.append(step)
        return scores, unknown

    def _discard(self, step: int) -> None:
        if self.path(step).exists():
            leaving = self.folder / f"{step}{_DELETING}"
            files.remove(leaving)
            os.rename(self.path(step), leaving)
            files.remove(leaving)

    def _first_whole(self, candidates: list[int], what: str = "checkpoint") -> int | None:
        """The first of these steps that verifies; reports damaged ones before it, once."""
        problems = {}
        for step in candidates:
            try:
                manifest.verify(self.path(step))
            except ValueError as error:
                problems[step] = str(error)
                continue
            for broken in problems.keys() - self._broken:
                self._say(f"checkpoint {broken}: {problems[broken]}; using step {step}")
            self._broken |= problems.keys()
            self.whole.add(step)
            return step
        if not problems:
            return None
        listed = "; ".join(f"{step}: {problem}" for step, problem in problems.items())
        raise ValueError(
            f"{self.folder}: no {what} is whole ({listed})\n"
            f"put one back from a copy, or remove {self.folder} to begin again from step 0"
        )


def verify_all(folder: Path, selected: int | None = None) -> dict[int, Manifest | str]:
    """Each step in `folder`, and `selected`, -> its manifest, or what is wrong with it."""
    steps = StepFolders(folder, lambda line: None)
    results: dict[int, Manifest | str] = {}
    for step in steps.steps():
        try:
            results[step] = manifest.verify(steps.path(step))
        except ValueError as error:
            results[step] = str(error)
    if selected is not None and selected not in results:
        results[selected] = "it is gone, and is the one that the run selected"
    return results


def _by_score(scores: dict[int, float | None]) -> list[int]:
    """Evaluated steps, best first; of ties the later first."""
    evaluated = [(value, step) for step, value in scores.items() if value is not None]
    return [step for _, step in sorted(evaluated, reverse=True)]

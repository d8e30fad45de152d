"""The folders of saved steps in `checkpoints/`: which there are, which are whole, which go.

A step is a folder named by its number, and counts if its manifest agrees with it (manifest.py).
`7.saving` is being written and `7.deleting` being removed: what a crash leaves behind has such a
name. Every change is one rename, so at each moment there is a whole step once there has been one.
Latest and best are read from the disk, never from a clock. Only the standard library.
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
# Orbax adds to the name of what it is writing.
_LEFTOVER = re.compile(rf"\d+({_SAVING}|{_DELETING})(\..*)?")
_LATEST_KEPT = 2
# Writes that were on their way when their save failed make its folder anew; so not once only.
_CLEAR_UP_TIMES, _CLEAR_UP_SECONDS = 10, 0.05


class StepFolders:
    """The steps of one run, as they are on the disk at this moment."""

    def __init__(self, folder: Path, say: Callable[[str], None]):
        """Creating the object touches nothing.

        Args:
            folder: `checkpoints/`.
            say: takes a line about a step that cannot be used.
        """
        self.folder = folder
        self.whole: set[int] = set()
        """What this object has committed, or has found whole."""
        self._say = say
        self._broken: set[int] = set()
        self._descriptor: int | None = None

    def path(self, step: int) -> Path:
        """Of the folder of a step."""
        return self.folder / str(step)

    def saving_path(self, step: int) -> Path:
        """Of the folder that a step is written to before it counts."""
        return self.folder / f"{step}{_SAVING}"

    def steps(self) -> list[int]:
        """Those that are there, ascending, whole or not; none if there is not a directory."""
        if not self.folder.is_dir():
            return []
        names = (path.name for path in self.folder.iterdir() if path.is_dir())
        return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)

    def usable(self) -> list[int]:
        """Those that are there and that nothing is known against, ascending."""
        return [step for step in self.steps() if step not in self._broken]

    def latest(self) -> int | None:
        """The newest whole step; None if there is no step at all. Says which it passed over.

        Raises:
            ValueError: there are steps, and every one is damaged.
        """
        return self._first_whole(self.steps()[::-1])

    def best(self) -> int | None:
        """The whole step of highest score (the later of equals); None if none was evaluated.

        Raises:
            ValueError: there are evaluated steps, and every one is damaged.
        """
        scores, unknown = self._scores(self.steps())
        ranked = _by_score(scores)
        return self._first_whole([*unknown, *ranked], "evaluated checkpoint") if ranked else None

    def open(self) -> None:
        """Make the folder, and remove what an interrupted save left behind.

        Raises:
            ValueError: it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.sync(self.folder.parent)
            self._descriptor = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise files.not_written(self.folder, error) from error
        self._remove_leftovers()

    def close(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def clear_up(self) -> bool:
        """Remove what a failed save has left, and what its last writes may still bring back.

        Returns:
            Whether the folder itself is gone; then what Orbax made in its place is removed.
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
        """Remove what is half written or half removed, as far as that works."""
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
        """Make a step count that is complete under `saving_path`; wants `open` before.

        Args:
            step: of training.
            accuracy: 0..1, if it was evaluated.
            arrays: see `Manifest`.
            score: see `Manifest`; None: the accuracy.

        Raises:
            OSError: the disk refuses.
            ValueError: likewise.
        """
        assert self._descriptor is not None
        saved, here = self.saving_path(step), self._descriptor
        manifest.seal(saved, step, accuracy, arrays, score)
        # Only training that has come back to a damaged step finds one there.
        self._discard(step)
        # In the folder that was opened: another one of its name is not that of this run.
        os.rename(saved.name, str(step), src_dir_fd=here, dst_dir_fd=here)
        files.force(here)
        self._broken.discard(step)

    def prune(self) -> None:
        """Keep the two latest steps and the best; to be called once the newest is safe.

        Raises:
            OSError: the disk refuses; what should go is still there.
        """
        scores, _ = self._scores(self.usable())
        keep = {*sorted(scores)[-_LATEST_KEPT:], *_by_score(scores)[:1]}
        for step in self.steps():
            if step not in keep:
                self._discard(step)

    def _scores(self, steps: list[int]) -> tuple[dict[int, float | None], list[int]]:
        """Score of each of these steps by its manifest, and those without a readable one."""
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
        """The first of these that verifies; says, once, what is wrong with those before it."""
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
    """Verify every step.

    Args:
        folder: `checkpoints/`.
        selected: a step that has to be there.

    Returns:
        step -> its manifest, or what is wrong with it.
    """
    steps = StepFolders(folder, lambda line: None)
    found: dict[int, Manifest | str] = {}
    for step in steps.steps():
        try:
            found[step] = manifest.verify(steps.path(step))
        except ValueError as error:
            found[step] = str(error)
    if selected is not None and selected not in found:
        found[selected] = "it is gone, and is the one that the run selected"
    return found


def _by_score(scores: dict[int, float | None]) -> list[int]:
    """The evaluated ones, the best first, of equals the later first."""
    evaluated = [(value, step) for step, value in scores.items() if value is not None]
    return [step for _, step in sorted(evaluated, reverse=True)]

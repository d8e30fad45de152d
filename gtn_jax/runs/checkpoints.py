"""Checkpoints of a run: training state, data position, config and class names, one folder per step.

A save finishes in the background: Orbax writes `7.saving` (orbax_files.py), manifest.py adds the
digest of every file, and renaming it to `7` commits it (step_folders.py).
"""

import concurrent.futures
import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax

from gtn_jax import files
from gtn_jax.config import Config
from gtn_jax.config.serialization import differences, from_tree, to_tree
from gtn_jax.runs import manifest, orbax_files, state_migration
from gtn_jax.runs.state_migration import describe, difference
from gtn_jax.runs.step_folders import StepFolders
from gtn_jax.runtime.distributed import is_primary


class HasStep(Protocol):
    """A pytree of arrays with a step counter."""

    step: jax.Array


State = TypeVar("State", bound=HasStep)
_TREES = ("position", "config", "classes")


def note(line: str) -> None:
    """Print a line to standard error: a problem that does not end the run."""
    print(f"note    {line}", file=sys.stderr, flush=True)


class Checkpoints(contextlib.AbstractContextManager):
    """The `checkpoints/` folder of a run, which keeps the two latest steps and the best.

    As a context manager, it waits for the save in flight.

    Args:
        folder: created if missing.
        read_only: create and clean up nothing, as another process may be saving.
        config: saved with every step, and compared with that of a restored step; None: neither.
        classes: names in label order; saved and compared likewise.
        say: takes a line about an unusable step.

    Raises:
        ValueError: the folder does not exist (`read_only`) or cannot be created.
    """

    def __init__(
        self,
        folder: Path,
        read_only: bool = False,
        config: Config | None = None,
        classes: tuple[str, ...] | None = None,
        say: Callable[[str], None] = note,
    ):
        if read_only and not folder.is_dir():
            raise ValueError(f"{folder} does not exist; has the run saved yet?")
        self._steps = StepFolders(folder, say)
        self._config, self._classes = config, classes
        self._saving: concurrent.futures.Future[None] | None = None
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        # Every process holds the whole state; the primary one saves it.
        self._writes = not read_only and is_primary()
        if self._writes:
            self._steps.open()

    def __exit__(self, *exception: object) -> None:
        self.close()

    def save(
        self,
        state: HasStep,
        position: dict[str, Any],
        accuracy: float | None = None,
        score: float | None = None,
    ) -> None:
        """Save in the background; does nothing for a saved step, or in other than the primary
        process.

        Raises ValueError if this save could not start, or the previous one failed.

        Args:
            state: named by its step.
            position: of the training data; JSON.
            accuracy: on validation, if this step was evaluated.
            score: selects the best step; None: the accuracy.
        """
        if not self._writes:
            return
        self.wait()
        step = int(state.step)
        if step in self._steps.whole:
            return
        # Orbax would recreate it with its parents: a run folder without the other files.
        if not self._steps.folder.is_dir():
            raise self._vanished(step)
        trees: dict[str, Any] = {"position": position}
        if self._config is not None:
            trees["config"] = to_tree(self._config)
        if self._classes is not None:
            trees["classes"] = list(self._classes)
        need = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        with self._explained(step, need):
            response = orbax_files.begin_write(self._steps.saving_path(step), state, trees)
        self._saving = self._thread.submit(
            self._finish, response, step, (accuracy, score), describe(state), need
        )

    def latest_step(self) -> int | None:
        """The newest intact step, or None before the first save; ValueError if all are damaged."""
        self.wait()
        return self._steps.latest()

    def best_step(self) -> int | None:
        """The evaluated step of highest score (of ties the later), or None; ValueError if all are
        damaged."""
        self.wait()
        return self._steps.best()

    def has(self, step: int) -> bool:
        """Whether the step exists, intact or not."""
        return self._steps.path(step).is_dir()

    def restore(self, template: State, step: int) -> tuple[State, dict[str, Any]]:
        """Load the state and the data position of a step after verifying its files.

        `template` has arrays or `jax.ShapeDtypeStruct` with the shapes, dtypes and shardings to
        load. Raises ValueError if the step is damaged, or of another config, other classes or
        another model.
        """
        self.wait()
        path = self._steps.path(step)
        where = f"{self._steps.folder}: checkpoint {step}"
        try:
            saved = manifest.verify(path)
        except ValueError as error:
            raise ValueError(
                f"{where}: {error}\nput it back from a copy, or train again in another folder"
            ) from error
        with _readable(where):
            names = [name for name in _TREES if (path / name).is_dir()]
            trees = orbax_files.read_trees(path, names)
        self._check_run(trees, where)
        rules, expected = state_migration.MIGRATIONS, describe(template)
        names = state_migration.migrated_names(saved.arrays, expected, rules)
        added = {name: expected[name] for name in rules.added if name in expected}
        stored = added | {new: saved.arrays[old] for new, old in names.items()}
        differing = difference(stored, expected)
        if differing:
            raise ValueError(f"{where} is of another model (there -> here).\n{differing}")
        with _readable(where):
            if saved.arrays.keys() == expected.keys():
                return orbax_files.read_arrays(path, template), trees["position"]
            arrays = orbax_files.read_named_arrays(path)
            return state_migration.fill(template, arrays, names, rules), trees["position"]

    def check(self) -> None:
        """Raise the ValueError of a background save that has failed; does not wait."""
        if self._saving is not None and self._saving.done():
            self.wait()

    def wait(self) -> None:
        """Wait for the save in flight; ValueError if it failed."""
        if self._saving is None:
            return
        # `_saving` stays set if a signal interrupts this, so that `close` waits again.
        concurrent.futures.wait([self._saving])
        saving, self._saving = self._saving, None
        saving.result()

    def close(self) -> None:
        """`wait`, and release the folder."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            self._steps.close()

    def _finish(
        self,
        response: orbax_files.Response,
        step: int,
        quality: tuple[float | None, float | None],
        arrays: dict[str, str],
        need: int,
    ) -> None:
        """The part of a save that runs in the background."""
        with self._explained(step, need):
            response.result()
            accuracy, score = quality
            self._steps.commit(step, accuracy, arrays, score)
        self._steps.whole.add(step)
        # The next save tries again.
        with contextlib.suppress(OSError):
            self._steps.prune()

    def _check_run(self, trees: dict[str, Any], where: str) -> None:
        if self._config is not None and "config" in trees:
            changed = differences(from_tree(trees["config"], where), self._config)
            if changed:
                raise ValueError(
                    f"{where} is of another config than config.json.\n"
                    f"there -> here: {'; '.join(changed)}"
                )
        classes = tuple(trees.get("classes", ()))
        if self._classes is not None and classes and classes != self._classes:
            raise ValueError(
                f"{where} is of other classes, or of another order of them, than classes.json:\n"
                f"{', '.join(classes)[:200]} -> {', '.join(self._classes)[:200]}"
            )

    @contextlib.contextmanager
    def _explained(self, step: int, need: int) -> Iterator[None]:
        """Turn any exception of a save into a ValueError, and remove what the save has written."""
        try:
            yield
        except Exception as error:
            orbax_files.join_writers()
            if self._steps.clear_up():
                raise self._vanished(step) from error
            room, safe = "", "there is no other step"
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(self._steps.folder).free / 2**20
                room = f"; it needs about {need / 2**20:.1f} MiB, {free:.1f} MiB are free"
                older = self._steps.usable()
                safe = f"step {older[-1]} is there" if older else safe
            raise ValueError(
                f"{self._steps.folder}: step {step} could not be saved "
                f"({files.reason(error)}){room}.\n"
                f"{safe}: make room or mend the disk, then the same command resumes"
            ) from error

    def _vanished(self, step: int) -> ValueError:
        return ValueError(
            f"{self._steps.folder} has vanished, step {step} is not saved; bring it back, then the "
            "same command resumes"
        )


@contextlib.contextmanager
def _readable(where: str) -> Iterator[None]:
    """Turn any exception of Orbax into a ValueError."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{where}: unreadable ({files.reason(error)})") from error

"""One run, step by step: what is frozen, at which rate, what is on the disk when, what is selected.

And the same run where a signal comes during a save, and where a thread that reads fails.
"""

import errno
import math
import os
import signal
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from gtn_jax.cli.error_text import describe_error
from gtn_jax.config import Config, override
from gtn_jax.data.pipeline import rows_of_step
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import RunFolder
from gtn_jax.runs.step_folders import StepFolders, verify_all
from gtn_jax.runtime.interruption import Interrupted, caught
from gtn_jax.training import loop, selection
from gtn_jax.training.image_store import ResidentImages
from gtn_jax.training.setup import Programs

ACCURACIES = {5: 0.75, 10: 0.5}
"""That validation is made to have after these steps: the best is not the last."""


@pytest.fixture
def config(tiny_config) -> Config:
    """Ten steps: an epoch frozen and on small images, an epoch of neither; a save a step."""
    return override(tiny_config, {
        "training.epochs": 2, "training.log_every_steps": 2, "training.select": "val",
        "training.checkpoint_every_seconds": 1e-9, "optimizer.learning_rate": 0.08,
        "optimizer.head_learning_rate": 0.16,
        "data.small_image_epochs": 1, "data.small_image_size": 8,
        "model.stages": 1, "model.gate": "none", "model.aux_weight": 0.0,
    })  # fmt: skip


class Observed:
    """A run that is stopped before step 8 and resumed, with another clock and count of images.

    Attributes:
        taken: (frozen, small) of each step.
        after: step -> variables on the host.
        events: "rows" where metrics.jsonl was forced to the disk, "save" where a save began.
        selected: variables that were evaluated in the end, on each split.
        summary: of the run.
        rows: of its metrics.jsonl.
    """

    def __init__(self, config: Config, workdir: Path, patch: pytest.MonkeyPatch):
        self.taken, self.after, self.events, self.selected = [], {}, [], []
        take_step, save, restore = Programs.take_step, Checkpoints.save, Checkpoints.restore
        evaluate_images, fsync, put_batch = loop.evaluate_images, os.fsync, loop.put_batch
        batches = iter(range(100))

        def observed_step(programs, state, batch, frozen, small):
            self.after.setdefault(0, jax.device_get(state.variables))
            state, metrics = take_step(programs, state, batch, frozen, small)
            self.taken.append((frozen, small))
            self.after[int(state.step)] = jax.device_get(state.variables)
            return state, metrics

        def observed_save(*arguments):
            self.events.append("save")
            save(*arguments)

        def observed_fsync(descriptor):
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/metrics.jsonl"):
                self.events.append("rows")
            fsync(descriptor)

        def restored(*arguments):
            state, position = restore(*arguments)
            clock = position["seconds"] | {"train": 1e5}
            return state, position | {"images": 10**6, "seconds": clock}

        def judged(*arguments):
            figures, *others = evaluate_images(*arguments)
            return figures | {"accuracy": ACCURACIES[arguments[-1]]}, *others

        def selected(programs, variables, *others):
            self.selected.append(jax.device_get(variables))
            return evaluate_images(programs, variables, *others)

        def stopping(batch, mesh):
            if next(batches) == 7:
                raise RuntimeError("stopped")
            return put_batch(batch, mesh)

        patch.setattr(Programs, "take_step", observed_step)
        patch.setattr(Checkpoints, "save", observed_save)
        patch.setattr(Checkpoints, "restore", restored)
        patch.setattr(os, "fsync", observed_fsync)
        patch.setattr(loop, "evaluate_images", judged)
        patch.setattr(selection, "evaluate_images", selected)
        patch.setattr(loop, "put_batch", stopping)
        with pytest.raises(RuntimeError, match="stopped"):
            loop.run(config, workdir, quiet=True, devices=1)
        self.summary = loop.run(config, workdir, quiet=True, devices=1)
        self.rows = RunFolder(workdir).rows()


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def moved(before, after) -> bool:
    return any(jax.tree.leaves(jax.tree.map(lambda a, b: bool(np.any(a != b)), before, after)))


def test_ten_steps(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        seen = Observed(config, tmp_path / "run", patch)

    # Frozen: nothing of the backbone moves, its running statistics neither; then all of it.
    assert seen.taken == [(True, True)] * 5 + [(False, False)] * 5
    start, last_frozen, first_free = (seen.after[step] for step in (0, 5, 6))
    assert_same(last_frozen["batch_stats"], start["batch_stats"])
    assert_same(last_frozen["params"]["backbone"], start["params"]["backbone"])
    assert moved(last_frozen["params"]["classifier"], start["params"]["classifier"])
    assert moved(first_free["params"]["backbone"], last_frozen["params"]["backbone"])
    assert moved(first_free["batch_stats"], last_frozen["batch_stats"])

    # A cosine over both epochs, of the peak rate; step n has the rate of n - 1 steps done.
    train = [row for row in seen.rows if row["split"] == "train"]
    assert [row["step"] for row in train] == [2, 4, 6, 8, 10]
    rates = [0.04 * (1 + math.cos(math.pi * step / 10)) for step in (1, 3, 5, 7, 9)]
    doubled = [2 * rate for rate in rates]
    assert [row["learning_rate_head"] for row in train] == pytest.approx(doubled, rel=1e-5)
    assert [row["learning_rate_backbone"] for row in train] == pytest.approx(
        [0, 0, *rates[2:]], rel=1e-5
    )

    # The rows are on the disk before each step that is saved; there are none after the first.
    assert seen.events[:2] == ["save", "rows"]
    assert seen.events[1:] == ["rows", "save"] * (len(seen.events) // 2)
    assert len(seen.events) >= 2 * 9

    # The clock and the count of images went on from 1e5 s and 1e6; of the three steps after step
    # 7 one compiles.
    seconds = seen.summary["train_seconds"]
    assert 1e5 < seconds < 1e5 + 60 and seen.rows[-1]["seconds"] > 1e5
    images = seen.summary["images_per_second"] * seconds
    assert images == pytest.approx(10**6 + 2 * 8, abs=0.5)

    # The best epoch on validation, on both splits.
    assert seen.summary["selected_step"] == 5
    assert len(seen.selected) == 2
    for variables in seen.selected:
        assert_same(variables, last_frozen)


def test_signal_during_a_save_in_the_background(config, tmp_path, monkeypatch):
    """It is finished, and the step at hand is saved too."""
    commit, signalled = StepFolders.commit, []

    def slow(steps, step, *others):
        if not signalled:
            signalled.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
        commit(steps, step, *others)

    monkeypatch.setattr(StepFolders, "commit", slow)
    with pytest.raises(Interrupted, match=r"by SIGTERM; step (\d+) of 10 is saved") as error:
        with caught():
            loop.run(config, tmp_path, quiet=True, devices=1)
    (step,) = signalled
    found = verify_all(tmp_path / "checkpoints")
    assert not [problem for problem in found.values() if isinstance(problem, str)]
    assert step in found and f"step {max(found)} of 10" in str(error.value)
    assert all(path.name.isdigit() for path in (tmp_path / "checkpoints").iterdir())


def test_an_error_in_a_thread_that_reads_ends_the_run(config, tmp_path, monkeypatch):
    """Grain's threads make the batches. One line is said; steps before it are saved."""
    take = ResidentImages.take

    def failing(images, rows):
        if np.array_equal(rows, rows_of_step(images, 8, "drop", config.seed, 3)):
            assert threading.current_thread() is not threading.main_thread()
            raise OSError(errno.EIO, os.strerror(errno.EIO), "photos/7.jpg")
        return take(images, rows)

    monkeypatch.setattr(ResidentImages, "take", failing)
    with pytest.raises(OSError) as error:
        loop.run(config, tmp_path, quiet=True, devices=1)
    said = describe_error(error.value)
    assert "Input/output error" in said and "photos/7.jpg" in said and "\n" not in said
    found = verify_all(tmp_path / "checkpoints")
    assert max(found) == 3 and not [one for one in found.values() if isinstance(one, str)]

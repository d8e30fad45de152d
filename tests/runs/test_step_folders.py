"""Which steps stay, which count, and that a crash at any moment leaves a whole one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtn_jax import files
from gtn_jax.runs import manifest
from gtn_jax.runs.step_folders import StepFolders, verify_all


def write(steps: StepFolders, step: int) -> None:
    """What Orbax does."""
    steps.saving_path(step).mkdir()
    (steps.saving_path(step) / "data").write_text(str(step))


def save(steps: StepFolders, step: int, accuracy: float | None = None) -> None:
    write(steps, step)
    steps.commit(step, accuracy, {})
    steps.prune()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def steps(tmp_path, said) -> Iterator[StepFolders]:
    folders = StepFolders(tmp_path / "checkpoints", said.append)
    folders.open()
    yield folders
    folders.close()


def test_two_latest_and_the_best_stay(steps, said):
    assert steps.steps() == []
    assert steps.latest() is None
    assert steps.best() is None
    for step, accuracy, kept in [
        (1, None, [1]),
        (2, 0.5, [1, 2]),
        (10, 0.75, [2, 10]),
        (11, 0.5, [10, 11]),
        (12, None, [10, 11, 12]),
        (13, None, [10, 12, 13]),
        (14, 0.75, [13, 14]),
    ]:
        save(steps, step, accuracy)
        assert steps.steps() == kept
    assert (steps.latest(), steps.best()) == (14, 14)
    assert said == []


def test_damaged_steps_are_passed_over_and_said_once(steps, said):
    for step, accuracy in [(1, 0.25), (2, 0.5), (3, 0.75)]:
        save(steps, step, accuracy)
    (steps.path(3) / "data").write_text("x")
    assert steps.latest() == 2
    assert steps.best() == 2
    assert said == ["checkpoint 3: data has changed on disk (its digest differs); using step 2"]
    (steps.path(2) / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"no checkpoint is whole \(3: data .*; 2: it has no man"):
        steps.latest()


def test_training_that_comes_back_to_a_damaged_step_replaces_it(steps, said):
    for step in (1, 2, 3):
        save(steps, step)
    (steps.path(3) / "data").write_text("x")
    assert steps.latest() == 2
    save(steps, 3)
    assert steps.latest() == 3
    assert manifest.verify(steps.path(3))
    assert len(said) == 1


def test_a_damaged_step_does_not_crowd_out_a_whole_one(steps):
    for step in (1, 2, 9):
        save(steps, step)
    (steps.path(9) / "data").write_text("x")
    assert steps.latest() == 2
    save(steps, 3)
    assert steps.steps() == [2, 3]


def test_leftovers_go_and_other_peoples_files_stay(steps):
    save(steps, 1)
    for name in (
        "2.saving/a",
        "2.saving.orbax-checkpoint-tmp/b",
        "0.deleting/c",
        "notes/d",
        "01/e",
    ):
        path = steps.folder / name
        path.parent.mkdir()
        path.touch()
    steps.close()
    steps.open()
    assert sorted(path.name for path in steps.folder.iterdir()) == ["01", "1", "notes"]
    assert steps.steps() == [1]


class Killed(BaseException):
    """Nothing runs after this."""


def test_killed_at_every_call_there_is_a_whole_step(tmp_path, monkeypatch):
    """Saves 2, which makes 1 go, and dies before or after the n-th call that changes the disk."""
    finished = 0
    for number in range(20):
        folder = tmp_path / str(number)
        steps = StepFolders(folder, print)
        steps.open()
        for step, accuracy in [(1, 0.75), (2, 0.25), (3, None)]:
            save(steps, step, accuracy)
        write(steps, 4)
        calls = 0

        def counted(function, limit=number):
            def call(*arguments, **options):
                nonlocal calls
                calls += 1
                if calls > limit:
                    raise Killed
                return function(*arguments, **options)

            return call

        with monkeypatch.context() as patched:
            for name in ("fsync", "rename", "replace"):
                patched.setattr(os, name, counted(getattr(os, name)))
            for name in ("remove", "write_bytes"):
                patched.setattr(files, name, counted(getattr(files, name)))
            try:
                steps.commit(4, 0.5, {})
                steps.prune()
                finished += 1
            except Killed:
                pass
        steps.close()
        again = StepFolders(folder, pytest.fail)
        again.open()
        assert again.latest() in (3, 4)
        assert again.best() == 1
        assert not [problem for problem in verify_all(folder).values() if isinstance(problem, str)]
        assert all(path.name.isdigit() for path in folder.iterdir())
        again.close()
    print(f"killed at {20 - finished} calls")
    assert 5 < finished < 15


def test_a_folder_made_anew_is_not_the_one_that_was_opened(steps, tmp_path):
    """As Orbax does for a save that began just before."""
    save(steps, 1)
    assert not steps.clear_up()
    steps.folder.rename(tmp_path / "moved")
    steps.folder.mkdir()
    write(steps, 2)
    with pytest.raises(FileNotFoundError):
        steps.commit(2, None, {})
    assert steps.clear_up()
    assert not steps.folder.exists()
    assert os.listdir(tmp_path / "moved") == ["1"]


def test_look_over(steps):
    save(steps, 1)
    save(steps, 2)
    (steps.path(1) / "data").unlink()
    found = verify_all(steps.folder, selected=5)
    assert found[1] == "data is missing"
    assert found[2] == manifest.read(steps.path(2))
    assert found[5] == "it is gone, and is the one that the run selected"
    assert verify_all(Path("nowhere")) == {}


def test_what_is_forced_to_the_disk_before_and_after_the_rename(steps, monkeypatch):
    """A power failure at any moment: a step that has its name has all that belongs to it."""
    calls = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def at(descriptor: int) -> str:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        return os.path.relpath(path, steps.folder)

    def record_fsync(descriptor):
        calls.append(at(descriptor))
        fsync(descriptor)

    def record_rename(source, target, **options):
        calls.append(f"{source} -> {target}")
        rename(source, target, **options)

    def record_replace(source, target):
        calls.append(f"{os.path.basename(source)} -> {os.path.basename(target)}")
        replace(source, target)

    write(steps, 7)
    (steps.saving_path(7) / "state").mkdir()
    (steps.saving_path(7) / "state/array").write_text("7")
    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "rename", record_rename)
    monkeypatch.setattr(os, "replace", record_replace)
    steps.commit(7, None, {})
    assert calls == [
        "7.saving/state/array",
        "7.saving/state",
        "7.saving/data",
        "7.saving",
        "7.saving/manifest.json.tmp",
        "manifest.json.tmp -> manifest.json",
        "7.saving",
        "7.saving -> 7",
        ".",
    ]

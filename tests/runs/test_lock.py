"""One trainer a folder: who is refused, and who takes over."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from gtn_jax.config import Config
from gtn_jax.runs import lock
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.runs.lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from gtn_jax.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(1000)
"""


def sign(folder, host: str, pid: int) -> None:
    """What a trainer that had no time to clean up leaves behind."""
    folder.mkdir()
    owner = {"pid": pid, "host": host, "since": "2026-01-02T03:04:05+00:00"}
    (folder / ".lock").write_text(json.dumps(owner))


def assert_refused(folder, pid: int, host: str):
    with pytest.raises(ValueError, match=f"in use by pid {pid} on host {host}, since") as error:
        with locked(folder):
            pass
    assert str(folder) in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


def test_a_living_owner_refuses_others_and_a_killed_one_does_not(tmp_path):
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        assert_refused(folder, holder.pid, socket.gethostname())
        holder.kill()
    assert (folder / ".lock").exists()
    with locked(folder):
        assert_refused(folder, os.getpid(), socket.gethostname())
    assert not (folder / ".lock").exists()


def test_nothing_is_left_of_a_folder_that_nobody_wrote_into(tmp_path):
    folder = tmp_path / "runs" / "first"
    with locked(folder):
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked(folder):
        (folder / "config.json").touch()
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_the_lock_of_a_killed_trainer_does_not_make_a_folder_foreign(tmp_path):
    sign(tmp_path / "run", "here", 1)
    RunFolder(tmp_path / "run").start(Config(), ("0",), Preprocessing((0.5,) * 3, (0.5,) * 3))


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="nothing can be written there .Not a directory.;"):
        with locked(tmp_path / "file" / "run"):
            pass


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.6)
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)


def test_another_machine_that_is_silent_is_dead(tmp_path, impatient):
    sign(tmp_path / "run", "elsewhere", 17)
    with locked(tmp_path / "run"):
        assert json.loads((tmp_path / "run/.lock").read_text())["pid"] == os.getpid()


@contextlib.contextmanager
def beating(file):
    over = threading.Event()
    with file.open("r+b") as opened:
        thread = threading.Thread(target=lock._beat, args=(opened.fileno(), over))
        thread.start()
        yield
        over.set()
        thread.join()


def test_another_machine_that_touches_the_file_is_alive(tmp_path, impatient):
    sign(tmp_path / "run", "elsewhere", 17)
    with beating(tmp_path / "run/.lock"):
        assert_refused(tmp_path / "run", 17, "elsewhere")


def test_without_flock_processes_are_looked_for(tmp_path, monkeypatch):
    def flock(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    sign(tmp_path / "run", socket.gethostname(), os.getppid())
    assert_refused(tmp_path / "run", os.getppid(), socket.gethostname())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    sign(tmp_path / "other", socket.gethostname(), ended.pid)
    with locked(tmp_path / "other"):
        pass


def test_owner_touches_its_file(tmp_path, impatient):
    with locked(tmp_path):
        before = (tmp_path / ".lock").stat().st_mtime_ns
        while (tmp_path / ".lock").stat().st_mtime_ns == before:
            time.sleep(0.02)


def test_a_dead_owner_whose_number_another_process_has_by_now(tmp_path):
    """The kernel's lock is free, so the living process of that number is not the owner."""
    sign(tmp_path / "run", socket.gethostname(), os.getppid())
    with locked(tmp_path / "run"):
        assert json.loads((tmp_path / "run/.lock").read_text())["pid"] == os.getpid()

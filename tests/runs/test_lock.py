"""One trainer a folder: who is refused, and who takes over."""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import time

import pytest
from filelock import SoftFileLease

from gtn_jax.config import Config
from gtn_jax.runs import lock
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.runs.lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from gtn_jax.runs import lock
lock.LEASE_SECONDS = float(sys.argv[2])
with lock.locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(1000)
"""
LEASE_SECONDS = 1.0


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(lock, "LEASE_SECONDS", LEASE_SECONDS)


@pytest.fixture
def without_flock(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "lock_descriptor", refuse)


@contextlib.contextmanager
def holding(folder, lease_seconds: float = lock.LEASE_SECONDS):
    """Another process that holds the folder."""
    words = [sys.executable, "-c", HOLDER, str(folder), str(lease_seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            yield holder
        finally:
            holder.kill()


def sign(folder, host: str, pid: int, start: int = 1) -> None:
    """What a trainer that had no time to clean up leaves behind."""
    folder.mkdir()
    fields = {"pid": pid, "host": host, "mode": "lease", "token": "0" * 32}
    fields |= {"duration": lock.LEASE_SECONDS, "start": start}
    lines = ["filelock/2", *(f"{name}={value}" for name, value in fields.items())]
    (folder / ".lock").write_text("\n".join(lines) + "\n")


def host_name(tmp_path) -> str:
    """This machine's, as the lease has it: in a container with the namespace of its processes."""
    with SoftFileLease(tmp_path / "probe") as lease:
        assert lease.owner is not None
        return lease.owner.hostname


def assert_refused(folder, pid: int, host: str):
    with pytest.raises(ValueError, match=f"in use by pid {pid} on host {host}.\n") as error:
        with locked(folder):
            pass
    assert str(folder) in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


def assert_ours(folder):
    with locked(folder):
        assert f"pid={os.getpid()}\n" in (folder / ".lock").read_text()
    assert not (folder / ".lock").exists()


def test_a_living_owner_refuses_others_and_a_killed_one_does_not(tmp_path):
    folder = tmp_path / "run"
    with holding(folder) as holder:
        started = time.monotonic()
        assert_refused(folder, holder.pid, socket.gethostname())
        assert time.monotonic() - started < lock.LEASE_SECONDS / 2  # at once
    assert (folder / ".lock").exists()
    started = time.monotonic()
    with locked(folder):
        assert_refused(folder, os.getpid(), socket.gethostname())
    assert time.monotonic() - started < lock.LEASE_SECONDS / 2
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


def test_another_machine_that_is_silent_is_dead(tmp_path, impatient):
    sign(tmp_path / "run", "elsewhere", 17)
    started = time.monotonic()
    assert_ours(tmp_path / "run")
    assert time.monotonic() - started >= LEASE_SECONDS


def test_another_machine_that_renews_its_lease_is_alive(tmp_path, impatient, without_flock):
    """Another process, which without flock stands for one that another machine sees."""
    with holding(tmp_path / "run", LEASE_SECONDS) as holder:
        assert_refused(tmp_path / "run", holder.pid, socket.gethostname())


def test_without_flock_a_dead_owner_here_is_known_by_its_number(tmp_path, without_flock):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    sign(tmp_path / "run", host_name(tmp_path), ended.pid)
    assert_ours(tmp_path / "run")


def test_a_dead_owner_whose_number_another_process_has_by_now(tmp_path):
    """It began at another time than the process that has its number."""
    sign(tmp_path / "run", host_name(tmp_path), os.getppid())
    assert_ours(tmp_path / "run")


@pytest.mark.parametrize("left", ["", json.dumps({"pid": 1, "host": "elsewhere", "since": "now"})])
def test_what_says_nothing_of_its_owner_is_of_a_dead_one(tmp_path, impatient, monkeypatch, left):
    """An empty file is what a power failure leaves, JSON what an earlier version left."""
    if left:
        monkeypatch.setattr(lock, "LEASE_SECONDS", 3.0)  # above filelock's own 2 s
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.lock").write_text(left)
    assert_ours(tmp_path / "run")


def test_owner_renews_its_lease(tmp_path, impatient):
    with locked(tmp_path):
        before = (tmp_path / ".lock").stat().st_mtime_ns
        end = time.monotonic() + 10 * LEASE_SECONDS
        while (tmp_path / ".lock").stat().st_mtime_ns == before:
            assert time.monotonic() < end
            time.sleep(0.02)

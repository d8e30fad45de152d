"""Saves that fail, at each system call that could: older steps stay, nothing else does.

strace makes the kernel refuse (https://strace.io, `inject`), which needs no privilege; a disk that
is really full or read-only needs root, for a small tmpfs. Where a tool is missing its tests skip.
"""

import functools
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gtn_jax.runs.step_folders import verify_all

pytestmark = pytest.mark.faults
IN_CI = functools.partial(pytest.param, marks=pytest.mark.slow)
"""Of `make test-slow` as well."""

SCRIPT = str(Path(__file__).parent / "save_step.py")
ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
FULL, BROKEN = "No space left on device", "Input/output error"

EXPERIMENT = """
from gtn_jax.config import *
CONFIG = Config(
    data=DataConfig(data_dir={data_dir!r}, image_size=16, batch_size=8, train_images_per_class=4),
    model=ModelConfig(backbone="resnet20", stages=2, gate_reduction=4),
    training=TrainingConfig(epochs=4, log_every_steps=1, checkpoint_every_seconds=1e-3),
)
"""


# The limit is set by the process itself, before it becomes the command: a function to be called
# between fork and exec makes subprocess fork, of which JAX warns once a test has started it here.
LIMITED = """\
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execvp(sys.argv[2], sys.argv[2:])
"""


def run(*command: str, limit: int | None = None) -> tuple[int, list[str]]:
    """Exit code and lines of standard error of a process that may not write larger files."""
    if limit is not None:
        command = (sys.executable, "-c", LIMITED, str(limit), *command)
    # Pipes: the limit holds for files that a process inherits, too.
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    return done.returncode, done.stderr.splitlines()


def save(folder: Path, step: int, *before: str, limit: int | None = None) -> tuple[int, list[str]]:
    return run(*before, sys.executable, SCRIPT, str(folder), str(step), limit=limit)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder of checkpoints with step 1."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    assert save(folder, 1) == (0, [])
    return folder


def copy(saved: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(saved, to))


def failed(folder: Path, code: int, lines: list[str], reason: str) -> bool:
    """What holds after every fault: whole steps, no temporary file, a short message."""
    found = verify_all(folder)
    assert 1 in found
    assert not [problem for problem in found.values() if isinstance(problem, str)]
    assert {path.name for path in folder.iterdir()} == {str(step) for step in found}
    if code == 0:
        assert 2 in found
        assert lines == []
        return False
    assert code == 1
    assert 1 <= len(lines) <= 3
    assert str(folder) in lines[0]
    assert reason in lines[0]
    return True


@pytest.mark.parametrize("limit", [0, 50, 1000, IN_CI(5000), 100_000])
def test_file_size_limit(saved, tmp_path, limit):
    folder = copy(saved, tmp_path / "run")
    assert failed(folder, *save(folder, 2, limit=limit), "File too large")
    assert not failed(folder, *save(folder, 2), "")


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(
    ("call", "error", "reason", "onward", "by"),
    [
        ("fsync", "EIO", BROKEN, "", 1),
        ("fsync", "EIO", BROKEN, "+", 5),
        ("rename", "EIO", BROKEN, "+", 1),
        ("mkdir", "ENOSPC", FULL, "+", 1),
        ("writev", "ENOSPC", FULL, "+", 1),
        # Not from then on: the message has to be written too.
        ("write", "ENOSPC", FULL, "", 1),
    ],
)
def test_refused_calls(saved, tmp_path, call, error, reason, onward, by):
    """The first, second, ... call of each thread fails, alone or with all after it.

    Until a save succeeds twice in a row: one alone may have met a call that does not matter.
    """
    times, succeeded = 0, 0
    for number in itertools.count(1, by):
        folder = copy(saved, tmp_path / "run")
        inject = f"inject={call}:error={error}:when={number}{onward}"
        strace = ("strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
        if failed(folder, *save(folder, 2, *strace), reason):
            times, succeeded = times + 1, 0
        elif succeeded:
            break
        else:
            succeeded = 1
    assert times
    print(f"{call} {error}: {times} saves failed")


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(
    "call", ["fsync", "rename", "mkdir", "/^unlink", "/^rmdir"], ids=lambda call: call.strip("/^")
)
def test_killed_at_every_call(saved, tmp_path, call):
    """SIGKILL as the first, second, ... of these calls of each thread begins.

    The save also removes an older step. Whole steps are there at any moment, and the next save
    leaves nothing behind.
    """
    full = copy(saved, tmp_path / "full")
    for step in (2, 3):
        assert save(full, step) == (0, [])
    for number in itertools.count(1):
        folder = copy(full, tmp_path / "run")
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        strace = ("strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
        code, _ = save(folder, 4, *strace)
        if code == 0:
            break
        found = verify_all(folder)
        assert {2, 3} <= found.keys() or {3, 4} <= found.keys()
        assert not [problem for problem in found.values() if isinstance(problem, str)]
        assert save(folder, 5) == (0, [])
        assert {path.name for path in folder.iterdir()} <= {"3", "4", "5"}
    assert number > 1
    print(f"{call}: killed at {number - 1} calls")


@pytest.fixture
def disk(tmp_path):
    """disk(kilobytes) -> an empty folder on a disk of that size."""
    mounted = []

    def mount(kilobytes: int, options: str = "rw") -> Path:
        path = tmp_path / "disk"
        path.mkdir(exist_ok=True)
        made = f"size={kilobytes}k,{options}"
        command = ["mount", "-t", "tmpfs", "-o", made, "tmpfs", str(path)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("spare", [0, 8, IN_CI(40), 120, 170])
def test_full_disk(saved, disk, spare):
    """Step 1 takes about 200 kB on this disk, `spare` kB are left for a step of as much."""
    folder = copy(saved, disk(2000) / "checkpoints")
    used = sum(-(-path.stat().st_size // 4096) * 4 for path in folder.rglob("*") if path.is_file())
    subprocess.run(["mount", "-o", f"remount,size={used + spare}k", folder.parent], check=True)
    assert failed(folder, *save(folder, 2), FULL)
    subprocess.run(["mount", "-o", "remount,size=2000k", folder.parent], check=True)
    assert not failed(folder, *save(folder, 2), "")


@pytest.fixture
def train(data_dir, tmp_path):
    """train(workdir) -> the command line of a run of 20 steps that saves after every one."""
    experiment = tmp_path / "experiment.py"
    experiment.write_text(EXPERIMENT.format(data_dir=data_dir))

    def command(workdir: Path) -> list[str]:
        words = ["train", str(experiment), "--workdir", str(workdir)]
        return [sys.executable, "-m", "gtn_jax", *words]

    return command


def test_training_on_a_disk_that_is_full_goes_on_once_there_is_room(train, disk):
    """From no room for config.json to room for two steps; then the same command finishes."""
    there = disk(4)
    for kilobytes in (4, 100, 1000, 1600):
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", there], check=True)
        code, lines = run(*train(there / "run"))
        assert code == 1
        assert 1 <= len(lines) <= 3
        assert FULL in lines[0]
        left = [path.name for path in (there / "run").rglob("*") if "." in path.name]
        assert not [name for name in left if ".saving" in name or name.endswith(".tmp")]
        found = verify_all(there / "run" / "checkpoints")
        assert not [problem for problem in found.values() if isinstance(problem, str)]
    assert found
    subprocess.run(["mount", "-o", "remount,size=20000k", there], check=True)
    assert run(*train(there / "run"))[0] == 0


def test_read_only_disk_is_said_before_any_work(train, disk):
    there = disk(2000, "ro")
    started = time.monotonic()
    code, lines = run(*train(there / "run"))
    assert code == 1
    assert len(lines) == 1
    assert "nothing can be written to" in lines[0]
    assert "Read-only file system" in lines[0]
    assert time.monotonic() - started < 60


def test_folder_that_vanishes(train, tmp_path):
    """Removed in the middle of training."""
    workdir = tmp_path / "run"
    process = subprocess.Popen(
        train(workdir),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    metrics = workdir / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
        assert process.poll() is None
        time.sleep(0.005)
    workdir.rename(tmp_path / "gone")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert 1 <= len(errors.splitlines()) <= 3
    assert str(workdir) in errors
    assert "vanished" in errors
    assert not workdir.exists()
    # Brought back, it goes on.
    (tmp_path / "gone").rename(workdir)
    assert run(*train(workdir))[0] == 0

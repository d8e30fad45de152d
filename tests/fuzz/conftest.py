"""What every target must leave as it was."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from tests.fuzz.fuzzing import EXAMPLES, hypothesis

MEMORY_BYTES = 2**30
"""That a target may add to the peak of this process: an image of 64 megapixels takes 0.25 GiB."""


@pytest.fixture(scope="module", autouse=True)
def no_trace(tmp_path_factory):
    """Hypothesis keeps what it knows of Unicode in the working folder."""
    if EXAMPLES is None:
        home = tmp_path_factory.mktemp("hypothesis")
        hypothesis.configuration.set_hypothesis_home_dir(home)
    yield
    hypothesis.configuration.set_hypothesis_home_dir(None)


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A folder to write in; afterwards all around it is as before, and memory was bounded."""
    room = tmp_path / "a" / "room"
    room.mkdir(parents=True)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "a" / "outside.txt").write_text("as it was")
    before = _around(tmp_path, room)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start = _peak_bytes()
    yield room
    assert _peak_bytes() - start < MEMORY_BYTES
    assert _around(tmp_path, room) == before


def _around(root: Path, room: Path) -> dict[str, str]:
    """Whatever is below `root` but not in `room`, and what the working folder holds by name."""
    paths = [path for path in root.rglob("*") if not path.is_relative_to(room)]
    paths += [Path(name) for name in os.listdir() if not name.startswith(".")]
    return {str(path): _content(path) for path in paths}


def _content(path: Path) -> str:
    return path.read_text() if path.is_absolute() and path.is_file() else ""


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

"""A log that cannot be written harms no training, and the exit code says so."""

import json
import os
import subprocess
import sys

import pytest

from gtn_jax.cli.main import main


@pytest.fixture
def full():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    file = open("/dev/full", "w")
    yield file
    with pytest.MonkeyPatch.context() as patch, open(os.devnull, "w") as nowhere:
        patch.setattr(sys, "stdout", file)
        os.dup2(nowhere.fileno(), file.fileno())  # what it holds would fail again
        file.close()


@pytest.fixture
def left():
    """A pipe whose reader has gone, as after `| head`."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as file:
        yield file


@pytest.mark.parametrize("kind", ["full", "left"])
def test_training_goes_on(kind, request, experiment, tmp_path, capsys, monkeypatch):
    stream = request.getfixturevalue(kind)
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["train", experiment, "--workdir", str(tmp_path / "run")]) == 1
    assert sys.stdout is stream
    reason = {"full": "No space left on device", "left": "Broken pipe"}[kind]
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("test accuracy ")  # what is for standard error is said there
    assert last == f"error: standard output: {reason}; all the rest of the job is done"
    assert json.loads((tmp_path / "run/summary.json").read_text())["steps"] == 5


def shell(command: str) -> subprocess.CompletedProcess:
    """A shell's command line, "gtn" in it being this package's."""
    command = command.replace("gtn ", f"{sys.executable} -m gtn_jax ")
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("gtn --help >/dev/full", 1, "error: standard output: No space left on device"),
        ("gtn train quickstart --help >/dev/full", 1, "error: standard output: No space left"),
        ("gtn --help >&-", 1, "error: standard output: it is closed"),
        ("gtn evaluate nowhere >/dev/full", 1, "error: nowhere holds no run"),
        ("gtn trian 2>&-", 2, ""),
        ("gtn --help 2>&- >&-", 1, ""),
        ("gtn --help | true; exit ${PIPESTATUS[0]}", 1, "error: standard output: Broken pipe"),
    ],
)
def test_streams_that_do_not_work(command, code, error):
    result = shell(command)
    assert result.returncode == code
    said = [line for line in result.stderr.splitlines() if not line.startswith("device ")]
    assert "".join(said).startswith(error) and len(said) <= 1
    assert result.stdout == ""  # a closed standard error is not made up for on the other


def test_no_file_becomes_standard_error():
    """The next file to be opened would be, and libraries would write into it."""
    code = (
        "import os; from gtn_jax.cli.main import main; main([]); "
        "number = os.open(os.devnull, os.O_RDONLY); raise SystemExit(number)"
    )
    result = shell(f"{sys.executable} -c '{code}' 2>&- >&- <&-")
    assert result.returncode == 3

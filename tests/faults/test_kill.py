"""Training that signals end again and again has the end of one left alone; see kill.py."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "kill.py"
LONG = pytest.mark.release


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "number", "devices", "epochs", "backbone"),
    [
        (5, "KILL", 1, 6, "tiny"),
        # `make faults` has 200 on one device.
        pytest.param(20, "KILL", 2, 10, "resnet20", marks=LONG),
        pytest.param(20, "KILL", 8, 10, "resnet20", marks=LONG),
        pytest.param(100, "TERM", 1, 20, "tiny", marks=LONG),
    ],
)
def test_nothing_is_lost(tmp_path, kills, number, devices, epochs, backbone):
    words = [sys.executable, str(SCRIPT), "--kills", str(kills), "--signal", number]
    words += ["--backbone", backbone]
    words += ["--devices", str(devices), "--epochs", str(epochs), "--workdir", str(tmp_path / "k")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{kills} kills in ")
    assert ": 0 lost" in done.stdout

"""A training that SIGKILL ends 20 times has the end of one that was left alone; see kill.py."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "kill.py"


@pytest.mark.slow
def test_twenty_kills_lose_nothing(tmp_path):
    words = [sys.executable, str(SCRIPT), "--kills", "20", "--epochs", "10"]
    words += ["--workdir", str(tmp_path / "kills")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 kills in " in done.stdout
    assert ": 0 lost" in done.stdout

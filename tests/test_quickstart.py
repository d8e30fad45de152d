"""The README's first command, with one seed: the table, the run folders, and a second call."""

import json
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow


def quickstart(workdir, home) -> str:
    command = [sys.executable, "-m", "gtn_jax", "quickstart", "--seeds", "1"]
    # No XLA_FLAGS: unoptimized, the training takes longer than is saved by compiling faster.
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    result = subprocess.run(
        [*command, "--workdir", str(workdir)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in result.stderr
    return result.stdout


def test_quickstart(tmp_path):
    output = quickstart(tmp_path / "runs", tmp_path / "home")
    results = (tmp_path / "runs/results.jsonl").read_text()
    rows = [json.loads(line) for line in results.splitlines()]
    assert [row["method"] for row in rows] == ["finetune", "gtn", "gtn_identity"]
    for row in rows:
        folder = tmp_path / "runs" / "runs" / f"{row['method']}-seed0"
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["test_accuracy"] == row["accuracy"]
        assert summary["test_images"] == 500
        # Chance is 0.1; anything that learned at all from 200 digits is far above this.
        assert row["accuracy"] > 0.85
        assert f"{100 * row['accuracy']:.2f}" in output
    kept = tmp_path / "home/.cache/gtn_jax/xla"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert list(kept.glob("*-cache"))
    # Everything is there already: the same table, without training.
    started = time.monotonic()
    again = quickstart(tmp_path / "runs", tmp_path / "home")
    assert time.monotonic() - started < 30
    assert again.splitlines()[-8:] == output.splitlines()[-8:]

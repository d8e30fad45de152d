"""One flipped bit in each small file of a finished run: whoever needs the file says so."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from gtn_jax.analysis.report import write_report
from gtn_jax.cli.main import main
from gtn_jax.inference.restore import open_split, restore
from gtn_jax.runs.folder import RunFolder

FLIPS = 12


@pytest.fixture(scope="module")
def copied(finished_run, tmp_path_factory) -> Path:
    """The finished run; each test leaves it as it was."""
    return shutil.copytree(finished_run, tmp_path_factory.mktemp("copied") / "run")


@pytest.fixture(scope="module")
def restored(finished_run):
    return restore(finished_run)


def load(run, restored):
    restore(run)


def evaluate(run, restored):
    open_split(restored, run, "test")


def report(run, restored):
    write_report([run])


READERS = {
    "config.json": [load, report],
    "classes.json": [load, report],
    "preprocessing.json": [load],
    "data.json": [evaluate],
    "summary.json": [load, report],
    "predictions.npz": [report],
    "metrics.jsonl": [report],
    "starts.jsonl": [report],
    "digests.json": [load, evaluate, report],
}


def flipped(content: bytes):
    """The content with one bit changed, at places over all of it."""
    for place in np.linspace(0, len(content) - 1, FLIPS, dtype=int):
        changed = bytearray(content)
        changed[place] ^= 1 << int(place) % 8
        yield bytes(changed)


def test_every_small_file_has_a_digest(copied, capsys):
    assert {path.name for path in copied.iterdir()} - {"checkpoints"} == set(READERS)
    assert RunFolder(copied).unsealed() == []
    assert main(["checkpoint", "verify", str(copied)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "files: ok, 8 files"


@pytest.mark.parametrize("name", READERS)
def test_one_bit(copied, restored, name, capsys):
    path = copied / name
    sound = path.read_bytes()
    before = sorted(copied.iterdir())
    try:
        for content in flipped(sound):
            path.write_bytes(content)
            for read in READERS[name]:
                with pytest.raises(ValueError, match=rf"{path} has changed on disk.*from a copy"):
                    read(copied, restored)
            assert main(["checkpoint", "verify", str(copied)]) == 1
            printed = capsys.readouterr()
            if name == "digests.json":
                assert f"error: {path} has changed on disk" in printed.err
            else:
                problem = f"files: {name} has changed on disk (its digest differs)"
                assert printed.out.splitlines()[0] == problem
                assert printed.err == f"error: {copied}: 1 of 8 files cannot be used\n"
        path.unlink()
        if name != "digests.json":
            for read in READERS[name]:
                with pytest.raises(ValueError, match=f"{path} is missing|holds no run"):
                    read(copied, restored)
    finally:
        path.write_bytes(sound)
    assert sorted(copied.iterdir()) == before  # no report among them

"""`gtn checkpoint verify`: a line for small files, one a step; 1 if any is damaged."""

import pytest

from gtn_jax.cli.main import main
from gtn_jax.config import Config
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.runs.step_folders import StepFolders


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """A run with steps 5 and 10, which hold next to nothing."""
    folder = RunFolder(tmp_path / "run")
    folder.start(Config(), ("cat", "dog"), Preprocessing((0.5,) * 3, (0.5,) * 3))
    steps = StepFolders(folder.checkpoints, print)
    steps.open()
    for step, accuracy in [(5, 0.75), (10, None)]:
        steps.saving_path(step).mkdir()
        (steps.saving_path(step) / "data").write_bytes(bytes(2**20))
        steps.commit(step, accuracy, {})
    steps.close()
    return folder


def test_whole_steps(run, capsys):
    assert main(["checkpoint", "verify", str(run.path)]) == 0
    assert capsys.readouterr().out == (
        "files: ok, 3 files\n"
        "step 5: ok, 1 files, 1.0 MiB, accuracy 0.7500\nstep 10: ok, 1 files, 1.0 MiB\n"
    )


def test_damaged_and_missing_steps(run, capsys):
    (run.checkpoints / "10/data").write_bytes(bytes(2**20 - 1) + b"x")
    run.finish({"selected_step": 7})
    assert main(["checkpoint", "verify", str(run.path)]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "files: ok, 4 files",
        "step 5: ok, 1 files, 1.0 MiB, accuracy 0.7500",
        "step 7: it is gone, and is the one that the run selected",
        "step 10: data has changed on disk (its digest differs)",
    ]
    assert captured.err == f"error: {run.path}: 2 of 3 steps cannot be used\n"


def test_no_run_and_no_checkpoint(tmp_path, capsys):
    assert main(["checkpoint", "verify", str(tmp_path / "nowhere")]) == 1
    assert "nowhere holds no run" in capsys.readouterr().err
    folder = RunFolder(tmp_path / "run")
    folder.start(Config(), ("cat", "dog"), Preprocessing((0.5,) * 3, (0.5,) * 3))
    assert main(["checkpoint", "verify", str(folder.path)]) == 1
    assert "has no checkpoint yet" in capsys.readouterr().err


def test_only_verify(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["checkpoint", "mend", "run"])
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) <= 3

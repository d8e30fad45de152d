"""Loggers get what metrics.jsonl gets; TensorBoard's files are read back; a trace is written."""

import pytest

from gtn_jax.cli.main import main
from gtn_jax.config import override
from gtn_jax.runs.folder import RunFolder
from gtn_jax.training import loop
from gtn_jax.training.loggers import ProfiledSteps, TensorBoardLogger


class Kept:
    """Keeps rows in a list."""

    def __init__(self):
        self.rows, self.closed = [], 0

    def log(self, row):
        self.rows.append(dict(row))

    def close(self):
        self.closed += 1


def test_loggers_get_every_row_and_are_closed(tiny_config, tmp_path):
    config = override(tiny_config, {"training.epochs": 1})
    first, second = Kept(), Kept()
    loop.run(config, tmp_path / "run", quiet=True, devices=1, loggers=[first, second])
    assert first.rows == second.rows == RunFolder(tmp_path / "run").rows()
    assert {row["split"] for row in first.rows} == {"train", "validation"}
    assert first.closed == second.closed == 1


def test_loggers_are_closed_when_a_run_fails(tiny_config, tmp_path, monkeypatch):
    logger = Kept()
    monkeypatch.setattr(loop, "put_batch", lambda batch, mesh: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.run(tiny_config, tmp_path / "run", quiet=True, devices=1, loggers=[logger])
    assert logger.closed == 1


def scalars(folder) -> dict[tuple[str, int], float]:
    """(tag, step) -> value, of all event files, purged as TensorBoard does."""
    from tensorboardX import proto
    from tensorboardX.record_writer import RecordWriter  # noqa: F401  # the format's other half

    found: dict[tuple[str, int], float] = {}
    for file in sorted(folder.glob("events.*")):
        content, place = file.read_bytes(), 0
        while place < len(content):
            length = int.from_bytes(content[place : place + 8], "little")
            event = proto.event_pb2.Event()
            event.ParseFromString(content[place + 12 : place + 12 + length])
            place += 16 + length
            if event.HasField("session_log"):
                found = {key: value for key, value in found.items() if key[1] < event.step}
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


def test_tensorboard_has_the_numbers_and_forgets_what_a_resumed_run_undid(tmp_path):
    pytest.importorskip("tensorboardX")
    logger = TensorBoardLogger(tmp_path / "events")
    for step in (1, 2, 3):
        logger.log({"step": step, "epoch": step / 2, "split": "train", "loss": step + 0.25})
    logger.close()
    again = TensorBoardLogger(tmp_path / "events")
    again.log({"step": 2, "epoch": 1.0, "split": "train", "loss": 9.5})
    again.log({"step": 2, "epoch": 1.0, "split": "validation", "accuracy": 0.5, "loss": 1})
    again.close()
    assert scalars(tmp_path / "events") == {
        ("train/loss", 1): 1.25, ("train/epoch", 1): 0.5,
        ("train/loss", 2): 9.5, ("train/epoch", 2): 1.0,
        ("validation/accuracy", 2): 0.5, ("validation/loss", 2): 1.0, ("validation/epoch", 2): 1.0,
    }  # fmt: skip


def test_a_run_that_logs_nothing_makes_no_folder(tmp_path):
    pytest.importorskip("tensorboardX")
    TensorBoardLogger(tmp_path / "events").close()
    assert not (tmp_path / "events").exists()


def test_verb_writes_events_and_a_trace(experiment, tmp_path, capsys):
    pytest.importorskip("tensorboardX")
    workdir = tmp_path / "run"
    words = ["train", experiment, "--workdir", str(workdir), "--tensorboard", "--profile", "3:4"]
    assert main(words) == 0
    assert ("validation/accuracy", 5) in scalars(workdir / "tensorboard")
    traces = list((workdir / "profile").rglob("*.xplane.pb"))
    assert len(traces) == 1 and traces[0].stat().st_size > 1000


@pytest.mark.slow
def test_a_trace_that_ends_after_the_run_is_written_too(tiny_config, tmp_path):
    config = override(tiny_config, {"training.epochs": 1})
    profiled = ProfiledSteps(4, 400)
    loop.run(config, tmp_path / "run", quiet=True, devices=1, profiled=profiled)
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("text", ["10", "20:10", "0:3", "a:b", "1:2:3", ""])
def test_steps_that_cannot_be_profiled(text):
    with pytest.raises(ValueError, match="profiled: "):
        ProfiledSteps.parse(text)
    assert ProfiledSteps.parse("10:20") == (10, 20)


def test_without_tensorboardx(experiment, tmp_path, monkeypatch, cli_refuses):
    from gtn_jax.training import loggers

    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    words = ["train", experiment, "--workdir", str(tmp_path / "x"), "--tensorboard"]
    cli_refuses(*words, says='pip install "gtn_jax[tensorboard]"')

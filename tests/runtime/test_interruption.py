"""Real signals to real processes, in every window of a run; and who installs what."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gtn_jax.cli.commands import VERBS
from gtn_jax.cli.main import main
from gtn_jax.runtime import interruption
from gtn_jax.runtime.interruption import Interrupted, active, caught, until_interrupted

EXPERIMENT = """
import hashlib, pathlib, time
from gtn_jax.config import *
from gtn_jax.data import pipeline
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.runtime import interruption
from gtn_jax.training import evaluate, image_store, setup
BACKBONES["tiny"] = ResNetShape("basic", (1, 1), width=8, stem="small", stem_stride=2)
MARK = pathlib.Path(__file__).with_suffix(".mark")
{hook}
CONFIG = Config(
    data=DataConfig(
        data_dir={data_dir!r}, image_size=16, batch_size=8, eval_batch_size=100,
        train_images_per_class=4,
    ),
    model=ModelConfig(backbone="tiny", gate_reduction=4),
    optimizer=OptimizerConfig(learning_rate=0.05),
    training=TrainingConfig(
        epochs={epochs}, eval_every_epochs={every}, freeze_epochs=1, log_every_steps=1,
        checkpoint_every_seconds=3600.0,
    ),
)
"""
# What compiles is not Python: no handler runs while it does, but other threads do.
COMPILE = """
def slow(*arguments, **options):
    step = make_train_step(*arguments, **options)
    def traced(state, batch):
        MARK.touch()
        hashlib.pbkdf2_hmac("sha256", b"", b"", {rounds})
        return step(state, batch)
    return traced
make_train_step, setup.make_train_step = setup.make_train_step, slow
"""
SLOW_EVALUATION = """
interruption.EVALUATION_SECONDS = {seconds}
def slow(*arguments):
    for batch in evaluation_batches(*arguments):
        MARK.touch()
        time.sleep(0.4)
        yield batch
evaluation_batches, evaluate.evaluation_batches = evaluate.evaluation_batches, slow
"""
STUCK_READ = """
def stuck(images, batch_size, last_batch, seed, gather):
    def read(step, rows):
        if step == 12:
            time.sleep(10**6)
        return images.gather(rows)
    return training_batches(images, batch_size, last_batch, seed, read)
training_batches, pipeline.training_batches = pipeline.training_batches, stuck
"""
SLOW_DECODING = """
def slow(*arguments):
    MARK.touch()
    time.sleep(10**6)
image_store.load = slow
"""
FOR_EVER = 10**6


class Training:
    """`gtn train` in a process of its own, ended with the test."""

    def __init__(
        self, folder: Path, data_dir: str, environment: dict, hook: str, epochs: int, every: int
    ):
        self.environment = os.environ | environment | {"JAX_PLATFORMS": "cpu"}
        self.experiment = folder / "mine.py"
        self.mark = self.experiment.with_suffix(".mark")
        self.workdir = folder / "run"
        self.experiment.write_text(
            EXPERIMENT.format(hook=hook, data_dir=data_dir, epochs=epochs, every=every)
        )
        self.arguments = ["train", str(self.experiment), "--workdir", str(self.workdir)]
        self.start()

    def start(self):
        # A shell's background job ignores SIGINT, and so would what it starts.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gtn_jax", *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def wait_for(self, condition):
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def rows(self, split: str) -> list[int]:
        """Steps of the whole rows of metrics.jsonl."""
        file = self.workdir / "metrics.jsonl"
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        rows = map(json.loads, lines)
        return [row["step"] for row in rows if row["split"] == split]

    def end(self, *signals: int, pause: float = 0.0) -> tuple[int, str]:
        """Exit code and standard error after these signals, at most 30 s later."""
        for number in signals:
            self.process.send_signal(number)
            time.sleep(pause)
        _, error = self.process.communicate(timeout=30)
        assert "Traceback" not in error
        assert len(error.splitlines()) <= 3
        return self.process.returncode, error

    def saved(self) -> list[int]:
        folder = self.workdir / "checkpoints"
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
        assert not [name for name in names if "tmp" in name]
        return sorted(int(name) for name in names if name.isdigit())


@pytest.fixture
def train(tmp_path, data_dir, kept_programs):
    """train(hook, epochs, every) starts a process."""
    started = []

    def train(hook="", epochs=FOR_EVER, every=FOR_EVER) -> Training:
        started.append(Training(tmp_path, data_dir, kept_programs, hook, epochs, every))
        return started[-1]

    yield train
    for training in started:
        training.process.kill()
        training.process.communicate()


def test_in_training(train):
    """SIGTERM twice within a moment is how GNU `timeout` says it once."""
    training = train()
    training.wait_for(lambda: len(training.rows("train")) > 3)
    # Threads read; there are no processes that could be left behind.
    children = Path(f"/proc/{training.process.pid}/task")
    assert not any(path.read_text() for path in children.glob("*/children"))
    code, error = training.end(signal.SIGTERM, signal.SIGTERM)
    assert code == 143
    (step,) = training.saved()
    assert f"interrupted by SIGTERM; step {step} of {5 * FOR_EVER} is saved\n" in error
    assert f"resume: gtn train {training.experiment} --workdir {training.workdir}\n" in error
    assert training.rows("train") == list(range(1, step + 1))
    assert not (training.workdir / ".lock").exists()


def test_twice_while_compiling(train):
    """At once: the rest of this compilation takes longer than anybody waits for it here."""
    training = train(COMPILE.format(rounds=2**31 - 1))
    training.wait_for(training.mark.exists)
    code, error = training.end(signal.SIGINT, signal.SIGINT, pause=0.5)
    assert code == 130
    assert "SIGINT again: ended at once" in error
    assert training.saved() == []


@pytest.mark.slow
@pytest.mark.alone
def test_while_compiling(train):
    """In the loop: so short a run is not timed before, which would compile the step as well."""
    training = train(COMPILE.format(rounds=2_000_000), epochs=4)
    training.wait_for(training.mark.exists)
    code, error = training.end(signal.SIGTERM)
    assert code == 143
    assert "SIGTERM: saves and ends; a second one ends it at once" in error
    assert training.saved() == [1]


@pytest.mark.slow
@pytest.mark.alone
def test_in_a_short_evaluation(train):
    """It is finished, so that the run that goes on has the same best step."""
    training = train(SLOW_EVALUATION.format(seconds=20), epochs=2, every=1)
    training.wait_for(training.mark.exists)
    code, error = training.end(signal.SIGINT)
    assert code == 130
    assert "step 5 of 10 is saved" in error
    assert training.rows("validation") == training.saved() == [5]
    training.start()
    output, _ = training.process.communicate(timeout=60)
    assert training.process.returncode == 0
    assert "resume  at step 5 of 10" in output
    assert training.rows("train") == list(range(1, 11))


@pytest.mark.slow
@pytest.mark.alone
def test_in_a_long_evaluation(train):
    """It is cut short, for which the step before it was saved."""
    training = train(SLOW_EVALUATION.format(seconds=0.1), epochs=2, every=1)
    training.wait_for(training.mark.exists)
    code, error = training.end(signal.SIGTERM)
    assert code == 143
    assert "in an evaluation; the last saved step is 4\n" in error
    assert training.saved() == [4]
    assert training.rows("validation") == []


@pytest.mark.slow
@pytest.mark.alone
def test_in_the_evaluation_after_training(train):
    training = train(SLOW_EVALUATION.format(seconds=20), epochs=1, every=1)
    training.wait_for((training.workdir / "checkpoints/5").exists)
    training.mark.unlink()
    training.wait_for(training.mark.exists)
    code, error = training.end(signal.SIGTERM)
    assert code == 143
    assert error.startswith("interrupted by SIGTERM\nresume: ")
    assert training.saved() == [5]
    assert not (training.workdir / "summary.json").exists()


@pytest.mark.slow
@pytest.mark.alone
def test_while_waiting_for_data(train):
    """Though the thread that reads is never going to end. Batch 12, from 0, does not come."""
    training = train(STUCK_READ)
    training.wait_for(lambda: training.rows("train")[-1:] == [11])
    time.sleep(0.5)
    code, error = training.end(signal.SIGTERM)
    assert code == 143
    assert f"step 12 of {5 * FOR_EVER} is saved" in error
    assert training.saved() == [12]


@pytest.mark.slow
@pytest.mark.alone
def test_before_anything_is_trained(train):
    training = train(SLOW_DECODING)
    training.wait_for(training.mark.exists)
    code, error = training.end(signal.SIGTERM)
    assert code == 143
    assert error.startswith("interrupted by SIGTERM\nresume: gtn train ")
    assert not training.workdir.exists()


def handlers():
    return [signal.getsignal(number) for number in interruption.SIGNALS]


def test_nothing_is_installed_unless_asked():
    before = handlers()
    assert active().number is None
    with caught() as outer:
        assert active() is outer
        assert handlers() != before
        with caught() as inner:
            assert inner is outer
    assert handlers() == before
    threads = threading.active_count()
    seen = []

    def in_a_thread():
        with caught():
            seen.extend(handlers())

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert seen == before
    assert threading.active_count() == threads


class Dropped:
    """What is raised while it is destroyed goes nowhere."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


def test_raised_again_where_python_drops_it(capfd):
    with pytest.raises(Interrupted, match="SIGTERM"), caught():
        Dropped()
        time.sleep(10)
        raise AssertionError("dropped")
    time.sleep(0.2)
    assert capfd.readouterr().err == ""


def test_raised_after_an_import(tmp_path, monkeypatch, capfd):
    """C++ that imports prints what is raised in it, and says that the import has failed."""
    (tmp_path / "imported_slowly.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {signal.SIGTERM})\ntime.sleep(0.3)\ndone = True"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Interrupted, match="SIGTERM"), caught():
        import imported_slowly  # pyright: ignore[reportMissingImports]

        time.sleep(10)
        raise AssertionError("dropped")
    assert imported_slowly.done
    assert capfd.readouterr().err == ""


def test_an_error_that_a_signal_became_is_the_signal(monkeypatch, capsys):
    """Orbax, too, takes whatever is raised for a file that it cannot read."""

    def unreadable(arguments):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except BaseException as error:
            raise ValueError("unreadable") from error

    monkeypatch.setitem(VERBS, "train", unreadable)
    assert main(["train"]) == 143
    assert capsys.readouterr().err == "interrupted by SIGTERM\nresume: gtn train\n"


def test_raised_where_nothing_is_lost_and_noted_elsewhere():
    with pytest.raises(Interrupted, match="interrupted by SIGTERM") as error, caught():
        os.kill(os.getpid(), signal.SIGTERM)
    assert error.value.exit_code == 143
    with caught() as note, note.deferring():
        os.kill(os.getpid(), signal.SIGINT)
        assert note.number == signal.SIGINT
        assert list(until_interrupted([1, 2])) == [1, 2]  # there is time for an evaluation
        with pytest.raises(Interrupted), note.at_once():
            raise AssertionError("not reached")
        with pytest.raises(Interrupted, match="SIGINT"):
            note.check()
        note.check(after_seconds=60)

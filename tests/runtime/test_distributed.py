"""Real processes that train one run together, on this machine: results, deaths, signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from gtn_jax.cli.main import main
from gtn_jax.inference.restore import open_run
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import RunFolder
from gtn_jax.runtime.distributed import _check_port, broadcast_from_primary, is_primary
from gtn_jax.runtime.interruption import caught

SILENCE_SECONDS = 8.0
EXPERIMENT = """
from gtn_jax.config import *
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.runtime import distributed
distributed.SILENCE_SECONDS = {silence}
distributed.JOIN_SECONDS = {join}
BACKBONES["tiny"] = ResNetShape("basic", (1, 1), width=8, stem="small", stem_stride=2)
CONFIG = Config(
    data=DataConfig(
        data_dir={data_dir!r}, image_size=16, batch_size=8, eval_batch_size=100,
        train_images_per_class=4, image_store={store!r}, random_resized_crop=True, resize_size=20,
    ),
    model=ModelConfig(
        backbone="tiny", gate_reduction=4, weights={weights!r},
    ),
    optimizer=OptimizerConfig(learning_rate=0.05),
    training=TrainingConfig(
        epochs={epochs}, eval_every_epochs=2, freeze_epochs=1, log_every_steps=1,
        checkpoint_every_seconds=0.01, head_start={head_start!r},
    ),
)
"""
FOR_EVER = 10**6


class Cluster:
    """`gtn train` in several processes, which end with the test."""

    def __init__(self, folder, data_dir, weights, environment):
        self.folder, self.data_dir, self.processes = folder, data_dir, []
        self.weights = weights
        self.environment = os.environ | environment | {
            "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1",
        }  # fmt: skip

    def start(
        self, count: int, workdir: str, epochs: int = 4, store: str = "auto",
        join: float = 60.0, present: int | None = None, head_start: str = "random",
    ):  # fmt: skip
        """`present` of `count` processes; all of them by default."""
        experiment = self.folder / f"{workdir}.py"
        experiment.write_text(
            EXPERIMENT.format(
                silence=SILENCE_SECONDS,
                join=join,
                data_dir=self.data_dir,
                weights=self.weights if head_start == "solved" else None,
                head_start=head_start,
                epochs=epochs,
                store=store,
            )
        )
        self.workdir = self.folder / workdir
        words = [sys.executable, "-m", "gtn_jax", "train", str(experiment)]
        words += ["--workdir", str(self.workdir)]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        for number in range(present or count):
            where = ["--coordinator", address, "--processes", str(count), "--process", str(number)]
            process = subprocess.Popen(
                words + (where if count > 1 else []),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self.environment,
            )
            self.processes.append(process)
        return self.processes[-(present or count) :]

    def wait_for_steps(self, steps: int) -> None:
        """Until metrics of so many steps are written, and a checkpoint is there."""
        file, checkpoints = self.workdir / "metrics.jsonl", self.workdir / "checkpoints"
        end = time.monotonic() + 120
        while time.monotonic() < end:
            assert all(process.poll() is None for process in self.processes[-2:])
            lines = file.read_text().split("\n")[:-1] if file.exists() else []
            saved = [path for path in checkpoints.glob("*") if path.name.isdigit()]
            if saved and lines and json.loads(lines[-1])["step"] >= steps:
                return
            time.sleep(0.05)
        raise AssertionError("no steps")

    def end(self, processes, seconds: float) -> list[tuple[int, str]]:
        """Exit code and what each said, all within this time."""
        end, found = time.monotonic() + seconds, []
        for process in processes:
            code = process.wait(max(0.1, end - time.monotonic()))
            found.append((code, "".join(process.communicate())))
        return found

    def result(self):
        """The last checkpoint's arrays and the rows of metrics."""
        folder = RunFolder(self.workdir)
        with Checkpoints(folder.checkpoints, read_only=True) as checkpoints:
            step = checkpoints.latest_step()
            assert step is not None
            state, _ = checkpoints.restore(open_run(folder).template(), step)
        variables = jax.tree.map(np.asarray, state.variables)
        return step, variables, [row for row in folder.rows() if row["split"] != "train"]


@pytest.fixture
def cluster(tmp_path, data_dir, tiny_weights, kept_programs):
    started = Cluster(tmp_path, data_dir, tiny_weights, kept_programs)
    yield started
    for process in started.processes:
        process.kill()
        process.communicate()


def test_one_process_is_first_and_agrees_with_itself():
    assert is_primary()
    assert broadcast_from_primary(7) == 7


@pytest.mark.parametrize("arguments", [
    ["--coordinator", "127.0.0.1:1"],
    ["--coordinator", "127.0.0.1:1", "--processes", "2"],
    ["--coordinator", "auto", "--process", "0"],
    ["--processes", "2"],
])  # fmt: skip
def test_arguments_that_do_not_go_together(arguments, tmp_path, capsys):
    assert main(["train", "quickstart", "--workdir", str(tmp_path / "run"), *arguments]) == 2
    assert (
        "--coordinator: HOST:PORT needs `--processes N` and `--process NUMBER`"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("host", "family", "bound"),
    [
        ("127.0.0.1", socket.AF_INET, None),
        ("0.0.0.0", socket.AF_INET, None),
        ("::", socket.AF_INET6, None),
        ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
    ],
)
def test_a_port_that_is_taken(host, family, bound, tmp_path, monkeypatch, cli_refuses):
    """Before JAX looks at it, which would end this process."""
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: pytest.fail("called"))
    try:
        taken = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with taken:
        port = taken.getsockname()[1]
        if bound is not None:
            monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", f"{bound}:{port}")
        words = ["train", "quickstart", "--workdir", str(tmp_path / "run")]
        words += ["--coordinator", f"localhost:{port}", "--processes", "2", "--process", "0"]
        said = cli_refuses(*words, says=f"coordinator: port {port} of {socket.gethostname()} is")
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize("coordinator", ["localhost", "localhost:http", "localhost:0", "a:70000"])
def test_no_port(coordinator, tmp_path, monkeypatch, cli_refuses):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: pytest.fail("called"))
    words = ["train", "quickstart", "--workdir", str(tmp_path / "run")]
    words += ["--coordinator", coordinator, "--processes", "2", "--process", "0"]
    cli_refuses(*words, says=f"--coordinator: {coordinator}: expected HOST:PORT", code=2)


def test_a_port_that_is_free_is_left_free():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for _ in range(2):
        _check_port(f"localhost:{port}")


def test_a_signal_that_is_forwarded_leaves_the_process_alone():
    with caught() as interruption:
        interruption.leave_to_others()
        os.kill(os.getpid(), signal.SIGTERM)
        while interruption.forwarded is None:
            time.sleep(0.01)
        assert interruption.forwarded == signal.SIGTERM
        assert interruption.number is None


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("clusters", [
    [(2, "device"), (2, "stream")],
    pytest.param([(4, "device"), (4, "stream")], marks=pytest.mark.release),
])  # fmt: skip
def test_as_one_process_does(cluster, clusters):
    results = []
    for count, store in [(1, "device"), *clusters]:
        processes = cluster.start(count, f"{store}{count}", store=store)
        for number, (code, error) in enumerate(cluster.end(processes, 240)):
            assert code == 0, error
            assert "Traceback" not in error
            assert ("loss" in error) == (number == 0)  # the first one speaks
        results.append(cluster.result())
    (step, alone, rows), *others = results
    for other_step, together, other_rows in others:
        assert other_step == step
        differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), alone, together)
        assert max(jax.tree.leaves(differences)) < 1e-5
        for row, other in zip(rows, other_rows, strict=True):
            assert row["accuracy"] == pytest.approx(other["accuracy"], abs=0.01)
            assert row["loss"] == pytest.approx(other["loss"], abs=1e-3)
            assert row["images"] == other["images"]


@pytest.mark.slow
@pytest.mark.alone
def test_killed_resumed_told_to_end_and_finished_by_one(cluster):
    """With a head that the first process solves, and the other receives."""
    shared_memory = set(os.listdir("/dev/shm"))
    processes = cluster.start(2, "killed", epochs=30, head_start="solved")
    cluster.wait_for_steps(8)
    processes[1].kill()
    (code, said), _ = cluster.end(processes, SILENCE_SECONDS + 15)
    assert code > 128 or code < 0, said
    assert set(os.listdir("/dev/shm")) <= shared_memory

    processes = cluster.start(2, "killed", epochs=30, head_start="solved")
    cluster.wait_for_steps(40)
    processes[1].send_signal(signal.SIGTERM)
    (code, said), (other, _) = cluster.end(processes, 30)
    assert (code, other) == (143, 143), said
    assert "resume  at step" in said
    saved = int(said.partition("interrupted by SIGTERM; step ")[2].split()[0])
    assert cluster.result()[0] == saved

    ((code, said),) = cluster.end(cluster.start(1, "killed", epochs=30, head_start="solved"), 120)
    assert code == 0, said
    assert f"resume  at step {saved} of 150" in said
    assert cluster.result()[0] == 150


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("stuck", [0, pytest.param(1, marks=pytest.mark.release)])
def test_one_is_stuck(cluster, stuck):
    processes = cluster.start(2, "stuck", epochs=FOR_EVER)
    cluster.wait_for_steps(8)
    processes[stuck].send_signal(signal.SIGSTOP)
    ((code, error),) = cluster.end([processes[1 - stuck]], SILENCE_SECONDS + 15)
    assert code == 134, error
    assert f"process {stuck} of 2" in error or "heard nothing of process 0" in error
    processes[stuck].send_signal(signal.SIGCONT)
    ((code, error),) = cluster.end([processes[stuck]], SILENCE_SECONDS + 15)
    assert code not in (0, 1), error


@pytest.mark.release
def test_a_signal_to_the_first_saves_and_ends_all(cluster):
    processes = cluster.start(2, "signal", epochs=FOR_EVER)
    cluster.wait_for_steps(8)
    processes[0].send_signal(signal.SIGTERM)
    (code, said), (other, _) = cluster.end(processes, 30)
    assert (code, other) == (143, 143), said
    saved = int(said.partition("interrupted by SIGTERM; step ")[2].split()[0])
    assert cluster.result()[0] == saved


@pytest.mark.slow
@pytest.mark.alone
def test_one_does_not_come(cluster):
    ((code, said),) = cluster.end(cluster.start(2, "alone", join=3.0, present=1), 30)
    assert code == 134
    first, second = said.splitlines()
    assert first.startswith("error: coordinator: 127.0.0.1:")
    assert "no cluster of processes (not all of them have come within 3 s)" in first
    assert second == "start the same command in every process; see docs/clusters.md"
    assert not cluster.workdir.exists()

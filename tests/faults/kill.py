"""Kill a real training with SIGKILL, again and again, and compare its end with one left alone.

    python tests/faults/kill.py --kills 200 [--devices 8] [--signal TERM] [--workdir DIR]

The run is small, but has all that makes resuming hard: augmentation, dropout, BatchNorm, momentum,
a frozen epoch, evaluations, a save whenever the one before is done. It is killed at random moments
after its first step, which `metrics.jsonl` shows. Lost is a run that does not end, or ends in other
numbers: every array of its last checkpoint, its data position, every metric that is no time.

SIGTERM comes at any moment, half of the time counted from the start of the process. Lost is then
also a step that was trained and is not saved; an exit code that is not 143, or more than three
lines of error, counts as much.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax

from gtn_jax.data.sources import prepare
from gtn_jax.inference.restore import open_run
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import RunFolder

EXPERIMENT = """
from gtn_jax.config import *
from gtn_jax.models.backbones import BACKBONES, ResNetShape
BACKBONES["tiny"] = ResNetShape("basic", (1, 1), width=8, stem="small", stem_stride=2)
CONFIG = Config(
    data=DataConfig(
        data_dir={data_dir!r}, image_size=16, batch_size=8, train_images_per_class=8,
        random_resized_crop=True, resize_size=20,
    ),
    model=ModelConfig(backbone={backbone!r}, stages=2, gate_reduction=4),
    training=TrainingConfig(
        epochs={epochs}, freeze_epochs=1, eval_every_epochs=5, log_every_steps=1,
        checkpoint_every_seconds=1e-3,
    ),
)
"""
STEPS_PER_EPOCH = 10
"""80 images in batches of 8."""
_PATIENCE_SECONDS = 120.0
"""For one life: to its first new step, or from its last kill to its end."""
_START_SECONDS = 8.0
"""About as long as a life takes on two cores to its first steps."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of one run that was killed.

    Attributes:
        kills: how often.
        problem: what is wrong with its end; empty if it is that of the run left alone.
    """

    kills: int
    problem: str


def command(experiment: Path, workdir: Path) -> list[str]:
    """The training's command line."""
    return [sys.executable, "-m", "gtn_jax", "train", str(experiment), "--workdir", str(workdir)]


def environment(cache: Path, devices: int) -> dict[str, str]:
    """So many CPU devices, and programs compiled by an earlier life."""
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def steps_done(workdir: Path) -> int:
    """The last step of the last whole row of metrics, or 0."""
    path = workdir / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def steps_saved(workdir: Path) -> int:
    """The last step that is saved, or 0."""
    names = [path.name for path in (workdir / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdigit()), default=0)


def fingerprint(workdir: Path) -> tuple[str, list[dict]]:
    """Digest of the last checkpoint's arrays and data position; metrics without times."""
    folder = RunFolder(workdir)
    files, config, classes = folder.checkpoints, folder.config(), folder.classes()
    with Checkpoints(files, read_only=True, config=config, classes=classes) as checkpoints:
        latest = checkpoints.latest_step()
        assert latest is not None
        state, position = checkpoints.restore(open_run(folder).template(), latest)
    # Not position["images"], which counts what was timed: no life times its compilations.
    digest = hashlib.sha256(json.dumps(position["batches"]).encode())
    state = state.replace(key=jax.random.key_data(state.key))
    for leaf in jax.tree.leaves(jax.device_get(state)):
        digest.update(f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes())
    rows = [*folder.rows(), folder.summary() or {}]
    return digest.hexdigest(), [
        {name: value for name, value in row.items() if "second" not in name} for row in rows
    ]


def kill_again_and_again(
    experiment: Path,
    workdir: Path,
    env: dict[str, str],
    kills: int,
    steps: int,
    seed: int,
    number: signal.Signals,
) -> Outcome:
    """A run that is killed when it has come to random steps, and a random moment later."""
    generator = random.Random(seed)
    done = 0
    for at in sorted(generator.randrange(1, steps) for _ in range(kills)):
        process = _start(experiment, workdir, env)
        if number != signal.SIGKILL and generator.random() < 0.5:
            time.sleep(generator.uniform(0, _START_SECONDS))
        elif not _has_stepped(process, workdir, at):
            process.kill()
            process.communicate()
            return Outcome(done, f"no step of its own in {_PATIENCE_SECONDS:.0f} s")
        else:
            time.sleep(generator.uniform(0, 0.05))
        if process.poll() is not None:  # it was faster than the last of the kills
            if process.returncode:
                return Outcome(done, f"ended with {process.returncode}: {_last_words(process)}")
            break
        process.send_signal(number)
        problem = _what_is_lost(process, workdir) if number != signal.SIGKILL else ""
        process.communicate()
        done += 1
        if problem:
            return Outcome(done, problem)
    process = _start(experiment, workdir, env)
    process.wait(_PATIENCE_SECONDS)
    if process.returncode:
        return Outcome(done, f"ended with {process.returncode}: {_last_words(process)}")
    return Outcome(done, "")


def _has_stepped(process: subprocess.Popen, workdir: Path, at: int) -> bool:
    """Wait for a step of this process, from number `at` on, or for its end; False: neither came."""
    # Rows of the life before are cut back first: a step of its own is a rise from the lowest.
    lowest, started = steps_done(workdir), time.monotonic()
    while process.poll() is None:
        now = steps_done(workdir)
        lowest = min(lowest, now)
        if now >= at and now > lowest:
            return True
        if time.monotonic() - started > _PATIENCE_SECONDS:
            return False
        time.sleep(0.001)
    return True


def _what_is_lost(process: subprocess.Popen, workdir: Path) -> str:
    """Of a process that was told to end: what is not as promised, or nothing."""
    said = process.communicate(timeout=_PATIENCE_SECONDS)[1].decode(errors="replace")
    # Before the handlers are there and after they are gone, it ends as any process does.
    if process.returncode not in (0, 128 + signal.SIGTERM, -signal.SIGTERM):
        return f"ended with {process.returncode}: {said[-300:]}"
    if len(said.splitlines()) > 3:
        return f"said {said}"
    path = workdir / "metrics.jsonl"
    rows = map(json.loads, path.read_bytes().splitlines() if path.exists() else [])
    trained = max((row["step"] for row in rows), default=0)
    saved = steps_saved(workdir)
    return "" if trained == saved else f"step {trained} was trained, step {saved} is saved"


def _start(experiment: Path, workdir: Path, env: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        command(experiment, workdir), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env
    )


def _last_words(process: subprocess.Popen) -> str:
    return process.communicate()[1].decode(errors="replace").strip()[-300:]


def trial(
    kills: int,
    folder: Path,
    kills_a_run: int = 20,
    epochs: int = 30,
    devices: int = 1,
    number: signal.Signals = signal.SIGKILL,
    backbone: str = "resnet20",
) -> list[Outcome]:
    """Runs that are killed `kills` times together, each compared with one that was left alone.

    Args:
        kills: in all.
        folder: an empty one, for everything.
        kills_a_run: so many at most before a run may end.
        epochs: of a run.
        devices: CPU devices of a run.
        number: SIGKILL or SIGTERM.
        backbone: of which the first two stages are taken; "tiny" has no more.
    """
    BACKBONES["tiny"] = ResNetShape("basic", (1, 1), width=8, stem="small", stem_stride=2)
    prepare("digits", str(folder / "data"))
    experiment, env = folder / "experiment.py", environment(folder / "cache", devices)
    experiment.write_text(
        EXPERIMENT.format(data_dir=str(folder / "data"), epochs=epochs, backbone=backbone)
    )
    subprocess.run(command(experiment, folder / "alone"), env=env, check=True, capture_output=True)
    expected = fingerprint(folder / "alone")
    outcomes, left = [], kills
    while left > 0:
        workdir, steps = folder / f"killed{len(outcomes)}", epochs * STEPS_PER_EPOCH
        wanted = min(left, kills_a_run)
        seed = len(outcomes)
        outcome = kill_again_and_again(experiment, workdir, env, wanted, steps, seed, number)
        if not outcome.problem:
            digest, rows = fingerprint(workdir)
            if rows != expected[1]:
                outcome = dataclasses.replace(outcome, problem="other metrics")
            elif digest != expected[0]:
                outcome = dataclasses.replace(outcome, problem="other arrays or data position")
        outcomes.append(outcome)
        left -= max(outcome.kills, 1)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a training again and again.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=30, help="of a run; 10 steps each")
    parser.add_argument("--devices", type=int, default=1, help="CPU devices of a run")
    parser.add_argument("--signal", choices=["KILL", "TERM"], default="KILL")
    parser.add_argument("--backbone", choices=["resnet20", "tiny"], default="resnet20")
    parser.add_argument("--workdir", type=Path, help="an empty folder that is kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gtn-kill-") as temporary:
        folder = given.workdir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        number = signal.Signals[f"SIG{given.signal}"]
        outcomes = trial(
            given.kills,
            folder,
            epochs=given.epochs,
            devices=given.devices,
            number=number,
            backbone=given.backbone,
        )
    lost = [outcome.problem for outcome in outcomes if outcome.problem]
    kills = sum(outcome.kills for outcome in outcomes)
    print(f"{kills} kills in {len(outcomes)} runs: {len(lost)} lost", *lost, sep="\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

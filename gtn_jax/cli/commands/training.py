"""Commands for run folders: train, checkpoint."""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from gtn_jax.cli.arguments import command, parse, take_experiment, take_preset
from gtn_jax.cli.terminal import aside, name_devices, say, set_up_process
from gtn_jax.config import Config
from gtn_jax.config.experiment import load_experiment
from gtn_jax.config.presets import PRESETS, REMAINING_DEVIATIONS
from gtn_jax.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """Arguments of `gtn train EXPERIMENT`.

    Example: gtn train quickstart --workdir runs/first --optimizer.learning_rate 0.05

    The last part of a field is enough, and lr is learning_rate: --lr 0.05 --epochs 10. A folder of
    photographs may follow the experiment: gtn train photos PATH --workdir runs/photos.

    Prints the summary as JSON, and accuracy by class to standard error.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    """Any field of the experiment's CONFIG."""
    workdir: Path
    """Run folder: new, or an unfinished run of the same config, which is resumed."""
    coordinator: str | None = None
    """For multi-process training: HOST:PORT of process 0, or `auto` on TPU pods, Slurm, Open MPI
    and Kubernetes. Start the same command in each process (docs/clusters.md)."""
    processes: int | None = None
    """Number of processes."""
    process: int | None = None
    """Index of this process, from 0."""
    preset: Literal["clean", "official"] | None = None
    """Recipe: `official` is the authors', `clean` the same without its quirks (docs/fidelity.md).
    Explicit fields override it."""  # for the help; parsed by `take_preset`
    budget_minutes: float | None = None
    """Reduce the number of steps so that the whole command takes at most this time."""
    dry_run: bool = False
    """Do not train: print the plan, after one step on synthetic images."""
    find_lr: bool = False
    """Learning rate range test: 100 steps at increasing rates; the loss is plotted in
    WORKDIR/find_lr.png (extra `plots`)."""
    tensorboard: bool = False
    """Also write TensorBoard event files to WORKDIR/tensorboard (extra `tensorboard`)."""
    profile: str | None = None
    """Trace these steps, e.g. 10:20, to WORKDIR/profile, for xprof."""


def train(arguments: list[str]) -> None:
    """Train an experiment; resume an unfinished run; print the summary of a finished one."""
    started = time.monotonic()
    name, rest = take_experiment(arguments, "gtn train quickstart --workdir runs/first")
    preset, rest = take_preset(rest)
    config = PRESETS[preset](load_experiment(name)) if preset else load_experiment(name)
    if preset == "official":
        for deviation in REMAINING_DEVIATIONS:
            say(f"differs from the authors' code: {deviation}")
    parsed = parse(TrainArguments, f"gtn train {name}", rest, TrainArguments(config, tyro.MISSING))
    if parsed.dry_run and parsed.find_lr:
        raise ArgumentError("dry_run", "not together with --find-lr; one at a time")
    if parsed.budget_minutes is not None and not parsed.budget_minutes > 0:
        raise ArgumentError("budget_minutes", f"{parsed.budget_minutes:g}; expected more than 0")
    set_up_process()
    from gtn_jax.runtime.distributed import distributed_session, is_primary
    from gtn_jax.training.loggers import ProfiledSteps, TensorBoardLogger
    from gtn_jax.training.loop import run

    profiled = ProfiledSteps.parse(parsed.profile) if parsed.profile else None
    if parsed.dry_run:
        from gtn_jax.training.dry_run import dry_run

        for line in dry_run(parsed.config, parsed.workdir):
            say(line)
        return
    if parsed.find_lr:
        from gtn_jax.training import find_lr

        name_devices()
        parsed.workdir.mkdir(parents=True, exist_ok=True)
        curve = find_lr.find_lr(parsed.config, say=say)
        files = find_lr.write(curve, parsed.workdir)
        for file in files:
            say(str(file))
        if len(files) == 1:
            say('no plot without matplotlib: pip install "gtn_jax[plots]"')
        say(f"the loss is lowest at {curve.highest:.2g}; training diverges above it; "
            f"try --optimizer.learning_rate {curve.suggested:.2g}")  # fmt: skip
        return
    loggers = [TensorBoardLogger(parsed.workdir / "tensorboard")] if parsed.tensorboard else []
    with distributed_session(parsed.coordinator, parsed.processes, parsed.process):
        budget = parsed.budget_minutes
        left = None if budget is None else budget - (time.monotonic() - started) / 60
        summary = run(
            parsed.config, parsed.workdir, loggers=loggers, profiled=profiled, budget_minutes=left
        )
        if is_primary():
            for option, asked, part in (
                ("--tensorboard", parsed.tensorboard, "tensorboard"),
                ("--profile", parsed.profile, "profile"),
            ):
                if asked and not (parsed.workdir / part).exists():
                    print(f"note    {option}: no training step ran", file=sys.stderr)
            say(json.dumps(summary, indent=2))
            for line in answers_of(parsed.workdir, summary.get("selected_on")):
                aside(line)


def answers_of(workdir: Path, selected_on: str | None) -> list[str]:
    """Accuracy of a finished run on test, or else validation, by class, as lines."""
    from gtn_jax.analysis.answers import in_lines
    from gtn_jax.runs.folder import RunFolder

    folder = RunFolder(workdir)
    try:
        for split in ("test", "validation"):
            predictions = folder.predictions(split)
            if predictions is not None:
                first, *others = in_lines(split, predictions, folder.classes())
                if split == selected_on:
                    first += ", at the epoch selected on these images"
                return [first, *others]
    except ValueError as error:  # a damaged file must not hide the summary
        return [f"note    {error}"]
    return []


@command("checkpoint")
def checkpoint(action: Positional[Literal["verify"]], run: Positional[Path]) -> None:
    """Verify the digests of all files of a run or an export; exit code 1 if one differs.

    Example: gtn checkpoint verify runs/first

    Args:
        action: verify.
        run: run folder, or a folder of `gtn export`.
    """
    from gtn_jax.runs import digests
    from gtn_jax.runs.folder import RunFolder
    from gtn_jax.runs.manifest import Manifest
    from gtn_jax.runs.step_folders import verify_all

    folder = RunFolder(run)
    is_export = (run / "model.stablehlo").is_file() and not folder.is_run()
    if not is_export and not folder.is_run():
        raise ValueError(f"{run} holds no run (no config.json)")
    files, unsealed = digests.verify(run), [] if is_export else folder.unsealed()
    bad_files = [problem for problem in files.values() if problem]
    for problem in bad_files:
        say(f"files: {problem}")
    if not bad_files and files:
        say(f"files: ok, {len(files)} files")
    if unsealed:
        say(f"files: no digest of {', '.join(unsealed)} (an older version wrote them)")
    if is_export:
        if not files:
            raise ValueError(f"{run} has no {digests.NAME}: an older version wrote it")
        if bad_files:
            raise ValueError(f"{run}: {len(bad_files)} of {len(files)} files cannot be used")
        return
    try:
        selected = (folder.summary() or {}).get("selected_step")
    except ValueError:
        # Reported above, unless it has no digest.
        if "summary.json" not in files:
            raise
        selected = None
    steps = verify_all(folder.checkpoints, selected)
    for step, manifest in sorted(steps.items()):
        if isinstance(manifest, Manifest):
            sizes = f"{len(manifest.files)} files, {manifest.bytes / 2**20:.1f} MiB"
            accuracy = "" if manifest.accuracy is None else f", accuracy {manifest.accuracy:.4f}"
            say(f"step {step}: ok, {sizes}{accuracy}")
        else:
            say(f"step {step}: {manifest}")
    bad_steps = [step for step, manifest in steps.items() if isinstance(manifest, str)]
    bad = [
        f"{len(bad)} of {total} {kind}"
        for kind, bad, total in (("files", bad_files, len(files)), ("steps", bad_steps, len(steps)))
        if bad
    ]
    if bad:
        raise ValueError(f"{run}: {', '.join(bad)} cannot be used")
    if not steps:
        raise ValueError(f"{run} has no checkpoint yet; continue it with `gtn train`")

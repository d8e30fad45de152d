"""Verbs that make run folders and look after them: train, checkpoint."""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gtn_jax.cli.arguments import parse, take_experiment, take_preset
from gtn_jax.cli.process import name_devices, set_up_process
from gtn_jax.cli.terminal import aside, say
from gtn_jax.config import Config
from gtn_jax.config.experiment import load_experiment
from gtn_jax.config.presets import PRESETS, REMAINING_DEVIATIONS
from gtn_jax.errors import ArgumentError

Positional = tyro.conf.Positional


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """What `gtn train EXPERIMENT` takes besides the experiment.

    Example: gtn train quickstart --workdir runs/first --optimizer.learning_rate 0.05

    The last part of a field is enough, and lr is learning_rate: --lr 0.05 --epochs 10. A folder of
    photographs may stand behind the experiment: gtn train photos PATH --workdir runs/photos.

    It ends with the summary, as JSON; what that comes to, class by class, is on standard error.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    """Any field of the experiment's CONFIG."""
    workdir: Path
    """Run folder: new, or an unfinished run of the same config, which is continued."""
    coordinator: str | None = None
    """Of many processes that train together: HOST:PORT of process 0, or `auto` on TPU pods, Slurm,
    Open MPI and Kubernetes. Start the same command in each (docs/clusters.md)."""
    processes: int | None = None
    """How many there are."""
    process: int | None = None
    """The number of this one, from 0."""
    preset: Literal["clean", "official"] | None = None
    """The recipe: `official` is the authors', `clean` that without its quirks (docs/fidelity.md).
    Fields given beside it win."""  # for the help: `take_preset` takes it before the others
    budget_minutes: float | None = None
    """Take as many of the steps as fit into this time, from now to the end of the command."""
    dry_run: bool = False
    """Train nothing: say what would be done, after one step on made-up images."""
    find_lr: bool = False
    """Train nothing for good: 100 steps at rising rates; WORKDIR/find_lr.png shows the loss
    (extra `plots`)."""
    tensorboard: bool = False
    """Write TensorBoard's event files into WORKDIR/tensorboard, too (extra `tensorboard`)."""
    profile: str | None = None
    """Trace these steps, e.g. 10:20, into WORKDIR/profile, for xprof."""


def train(arguments: list[str]) -> None:
    """Train an experiment; resume an unfinished run; print the summary of a finished one."""
    started = time.monotonic()
    name, rest = take_experiment(arguments, "gtn train quickstart --workdir runs/first")
    preset, rest = take_preset(rest)
    config = PRESETS[preset](load_experiment(name)) if preset else load_experiment(name)
    if preset == "official":
        for deviation in REMAINING_DEVIATIONS:
            say(f"not as in the authors' code: {deviation}")
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
        found = find_lr.find_lr(parsed.config, say=say)
        files = find_lr.write(found, parsed.workdir)
        for file in files:
            say(str(file))
        if len(files) == 1:
            say('no picture without matplotlib: pip install "gtn_jax[plots]"')
        say(f"the loss is lowest at {found.highest:.2g}, a little beyond it training diverges; "
            f"try --optimizer.learning_rate {found.suggested:.2g}")  # fmt: skip
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
                    print(f"note    {option}: nothing of that was trained", file=sys.stderr)
            say(json.dumps(summary, indent=2))
            for line in answers_of(parsed.workdir, summary.get("selected_on")):
                aside(line)


def answers_of(workdir: Path, selected_on: str | None) -> list[str]:
    """What a finished run says of test images, or else of validation images, in words."""
    from gtn_jax.analysis.answers import in_lines
    from gtn_jax.runs.folder import RunFolder

    folder = RunFolder(workdir)
    try:
        for split in ("test", "validation"):
            said = folder.predictions(split)
            if said is not None:
                first, *others = in_lines(split, said, folder.classes())
                if split == selected_on:
                    first += ", of the epoch that was best on these images"
                return [first, *others]
    except ValueError as error:  # a file is damaged; the summary is what was asked for
        return [f"note    {error}"]
    return []


def checkpoint(arguments: list[str]) -> None:
    """Check that every file of a run or an export is as it was written; 1 if one is not."""

    def form(action: Positional[Literal["verify"]], run: Positional[Path]) -> Path:
        """Read every small file and every file of every step, and compare it with its digest.

        Example: gtn checkpoint verify runs/first

        Args:
            action: verify.
            run: run folder, or a folder of `gtn export`.
        """
        return run

    workdir = parse(form, "gtn checkpoint", arguments)
    from gtn_jax.runs import digests
    from gtn_jax.runs.folder import RunFolder
    from gtn_jax.runs.manifest import Manifest
    from gtn_jax.runs.step_folders import verify_all

    folder = RunFolder(workdir)
    is_export = (workdir / "model.stablehlo").is_file() and not folder.is_run()
    if not is_export and not folder.is_run():
        raise ValueError(f"{workdir} holds no run (no config.json)")
    files, unsealed = digests.verify(workdir), [] if is_export else folder.unsealed()
    bad_files = [problem for problem in files.values() if problem]
    for problem in bad_files:
        say(f"files: {problem}")
    if not bad_files and files:
        say(f"files: ok, {len(files)} files")
    if unsealed:
        say(f"files: no digest of {', '.join(unsealed)} (an older version wrote them)")
    if is_export:
        if not files:
            raise ValueError(f"{workdir} has no {digests.NAME}: an older version wrote it")
        if bad_files:
            raise ValueError(f"{workdir}: {len(bad_files)} of {len(files)} files cannot be used")
        return
    try:
        selected = (folder.summary() or {}).get("selected_step")
    except ValueError:
        # Said above, unless it has no digest.
        if "summary.json" not in files:
            raise
        selected = None
    found = verify_all(folder.checkpoints, selected)
    for step, manifest in sorted(found.items()):
        if isinstance(manifest, Manifest):
            sizes = f"{len(manifest.files)} files, {manifest.bytes / 2**20:.1f} MiB"
            accuracy = "" if manifest.accuracy is None else f", accuracy {manifest.accuracy:.4f}"
            say(f"step {step}: ok, {sizes}{accuracy}")
        else:
            say(f"step {step}: {manifest}")
    bad_steps = [step for step, manifest in found.items() if isinstance(manifest, str)]
    bad = [
        f"{len(bad)} of {total} {kind}"
        for kind, bad, total in (("files", bad_files, len(files)), ("steps", bad_steps, len(found)))
        if bad
    ]
    if bad:
        raise ValueError(f"{workdir}: {', '.join(bad)} cannot be used")
    if not found:
        raise ValueError(f"{workdir} has no checkpoint yet; continue it with `gtn train`")

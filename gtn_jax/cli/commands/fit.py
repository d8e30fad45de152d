"""The command fit: from a folder of photographs to a report."""

import dataclasses
import shlex
import time
from pathlib import Path
from typing import Annotated

import tyro

from gtn_jax.cli.arguments import parse
from gtn_jax.cli.terminal import say, set_up_process, show
from gtn_jax.config import Config, override
from gtn_jax.config.experiment import load_experiment
from gtn_jax.errors import ArgumentError

EXPERIMENT = "photos"
_REPORT_SECONDS = 3.0
"""Part of the budget for the report."""


@dataclasses.dataclass(frozen=True)
class FitArguments:
    """Train a classifier on a folder of photographs, and report its accuracy.

    Checks the folder, selects backbone, image size and recipe by the device and the number of
    images, and trains. The same command resumes an interrupted run.

    Example: gtn fit photos --budget-minutes 10
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    """Any field of the experiment `photos`; overrides the selection."""
    photos: tyro.conf.Positional[Path]
    """The folder, with train/ (and val/, test/) or with one folder per class."""
    out: Path | None = None
    """Run folder; default: runs/NAME, with the name of PHOTOS."""
    weights: str | None = None
    """Pretrained weights: a .safetensors file (which determines the backbone), hf:OWNER/NAME or the
    shipped tiny_imagenet; default: an ImageNet ResNet of the Hugging Face Hub."""
    budget_minutes: float | None = None
    """Time limit of the whole command; default: none, or 30 on a CPU with many images."""


def fit(arguments: list[str]) -> None:
    """Check a folder of photographs, train a classifier on it and report, in one command."""
    started = time.monotonic()
    experiment = load_experiment(EXPERIMENT)
    given = _parsed(arguments, experiment)
    out = given.out or Path("runs") / given.photos.expanduser().absolute().name
    set_up_process()
    from gtn_jax.analysis.report import write_report
    from gtn_jax.cli.commands.training import answers_of
    from gtn_jax.runs.folder import RunFolder
    from gtn_jax.training.loop import run

    minutes, folder = given.budget_minutes, RunFolder(out)
    own = {"data.name": f"folder:{given.photos}"}
    if folder.is_run():
        # Existing choices hold; explicit arguments are compared with them.
        own |= {} if given.weights is None else {"model.weights": given.weights}
        config = _parsed(arguments, override(folder.config(), own)).config
    else:
        config, minutes = _chosen(given, override(experiment, own))
        config = _parsed(arguments, config).config
        say(f"same as  {long_form(config, experiment, out, minutes)}")
    left = (
        None if minutes is None else minutes - (time.monotonic() - started + _REPORT_SECONDS) / 60
    )
    summary = run(config, out, budget_minutes=left)
    for line in answers_of(out, summary.get("selected_on")):
        say(line)
    say(f"report   {write_report((out,))}")
    say(f"predict  {shlex.join(['gtn', 'predict', str(out)])} NEW")


def _parsed(arguments: list[str], config: Config) -> FitArguments:
    given = parse(FitArguments, "gtn fit", arguments, FitArguments(config, tyro.MISSING))
    minutes = given.budget_minutes
    if minutes is not None and not minutes > 0:
        raise ArgumentError("budget_minutes", f"{minutes:g}; expected more than 0")
    return given


def _chosen(given: FitArguments, config: Config) -> tuple[Config, float | None]:
    from gtn_jax.data import check
    from gtn_jax.devices import all_devices
    from gtn_jax.training.recipe import choose
    from gtn_jax.weights.registry import is_here, resolve

    report = check.check_folder(given.photos)
    show(check.counts_table(report.listing))
    for line in check.report_lines(report):
        say(line)
    if report.problems:
        say(f"skipped  {report.problems}; the others are used")
    images = check.counts_in_training(report.listing)["train"].total()
    is_accelerator = all_devices()[0].platform != "cpu"
    recipe = choose(config, images, is_accelerator, given.weights, given.budget_minutes)
    weights = recipe.config.model.weights
    assert weights is not None
    if not is_here(weights):
        say(f"weights  {weights}: downloading once")
    try:
        resolve(weights)
    except ValueError as error:
        if given.weights is not None:
            raise
        raise ValueError(
            f"{error}\nor without a network: --weights FILE.safetensors, or --weights "
            "tiny_imagenet (shipped: a small network that sees 32 pixels)"
        ) from error
    return recipe


def long_form(config: Config, experiment: Config, out: Path, minutes: float | None) -> str:
    """The equivalent `gtn train` command: fields of `config` that differ from the experiment."""
    from gtn_jax.config.serialization import flatten

    before, words = flatten(experiment), ["gtn", "train", EXPERIMENT]
    for name, value in flatten(config).items():
        if value != before[name]:
            values = value if isinstance(value, list) else [value]
            words += [f"--{name}", *map(str, values)]
    words += ["--workdir", str(out)]
    words += [] if minutes is None else ["--budget-minutes", f"{minutes:g}"]
    return shlex.join(words)

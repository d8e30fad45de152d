"""The verb that is one line for everything: fit."""

import dataclasses
import shlex
import time
from pathlib import Path
from typing import Annotated

import tyro

from gtn_jax.cli.arguments import parse
from gtn_jax.cli.process import set_up_process
from gtn_jax.cli.terminal import say, show
from gtn_jax.config import Config, override
from gtn_jax.config.experiment import load_experiment
from gtn_jax.errors import ArgumentError

EXPERIMENT = "photos"
_REPORT_SECONDS = 3.0
"""Of the budget, for what comes after training."""


@dataclasses.dataclass(frozen=True)
class FitArguments:
    """A folder of photographs -> a classifier of them, its accuracy, and a report.

    Looks the folder over, chooses backbone, image size and recipe by the device and the number of
    images, and trains. The same line again goes on where it was stopped.

    Example: gtn fit photos --budget-minutes 10
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    """Any field of the experiment `photos`, in the place of what would be chosen."""
    photos: tyro.conf.Positional[Path]
    """The folder, with train/ (and val/, test/) or one folder a class in it."""
    out: Path | None = None
    """Run folder; default: runs/ and the name of PHOTOS."""
    weights: str | None = None
    """Pretrained weights, a .safetensors file (the backbone is told by it), hf:OWNER/NAME or
    tiny_imagenet, which is shipped; default: an ImageNet ResNet of the Hugging Face Hub."""
    budget_minutes: float | None = None
    """Of the whole command; default: what training takes, on a CPU with many images 30."""


def fit(arguments: list[str]) -> None:
    """Make a classifier of a folder of photographs, in one line: check, train, report."""
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
        # What was chosen for it holds; what is asked for now is compared with it.
        own |= {} if given.weights is None else {"model.weights": given.weights}
        config = _parsed(arguments, override(folder.config(), own)).config
    else:
        config, minutes = _chosen(given, override(experiment, own))
        config = _parsed(arguments, config).config
        say(f"this is  {long_form(config, experiment, out, minutes)}")
    left = (
        None if minutes is None else minutes - (time.monotonic() - started + _REPORT_SECONDS) / 60
    )
    summary = run(config, out, budget_minutes=left)
    for line in answers_of(out, summary.get("selected_on")):
        say(line)
    say(f"report   {write_report((out,))}")
    say(f"ask it   {shlex.join(['gtn', 'predict', str(out)])} NEW")


def _parsed(arguments: list[str], config: Config) -> FitArguments:
    given = parse(FitArguments, "gtn fit", arguments, FitArguments(config, tyro.MISSING))
    minutes = given.budget_minutes
    if minutes is not None and not minutes > 0:
        raise ArgumentError("budget_minutes", f"{minutes:g}; expected more than 0")
    return given


def _chosen(given: FitArguments, config: Config) -> tuple[Config, float | None]:
    """Look the photographs over, and choose how to train on them and how long."""
    from gtn_jax.data import check
    from gtn_jax.devices import all_devices
    from gtn_jax.training.recipe import choose
    from gtn_jax.weights.registry import is_here, resolve

    report = check.check_folder(given.photos)
    show(check.counts_table(report.listing))
    for line in check.report_lines(report):
        say(line)
    if report.problems:
        say(f"wrong    {report.problems}; all others are trained on")
    images = check.counts_in_training(report.listing)["train"].total()
    is_accelerator = all_devices()[0].platform != "cpu"
    recipe = choose(config, images, is_accelerator, given.weights, given.budget_minutes)
    weights = recipe.config.model.weights
    assert weights is not None
    if not is_here(weights):
        say(f"weights  {weights}: fetched, once")
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
    """The `gtn train` line that does the same.

    Args:
        config: of the run.
        experiment: that it differs from.
        out: run folder.
        minutes: of the budget, if there is one.
    """
    from gtn_jax.config.serialization import flatten

    before, words = flatten(experiment), ["gtn", "train", EXPERIMENT]
    for name, value in flatten(config).items():
        if value != before[name]:
            values = value if isinstance(value, list) else [value]
            words += [f"--{name}", *map(str, values)]
    words += ["--workdir", str(out)]
    words += [] if minutes is None else ["--budget-minutes", f"{minutes:g}"]
    return shlex.join(words)

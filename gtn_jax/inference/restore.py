"""Restore the model and selected weights of a finished or unfinished run."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gtn_jax.arrays import Variables
from gtn_jax.config import Config
from gtn_jax.data.images import Images, View, load
from gtn_jax.data.sources import absolute, open_data
from gtn_jax.data.subsets import choose, fingerprint
from gtn_jax.errors import ArgumentError
from gtn_jax.models.gtn import GTN
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.runs.predictions import SavedPredictions
from gtn_jax.training.evaluate import evaluate_images, predictions_of
from gtn_jax.training.setup import RunSetup, setup_of

NO_DATA = "none"
"""`data.name` of a run converted from a checkpoint without a data set to evaluate on."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """A restored run: setup on all devices, float32 variables, replicated, and their step."""

    setup: RunSetup
    variables: Variables
    step: int

    @property
    def config(self) -> Config:
        """Config of the run."""
        return self.setup.config

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in label order."""
        return self.setup.classes

    @property
    def model(self) -> GTN:
        """The module."""
        return self.setup.model

    @property
    def preprocessing(self) -> Preprocessing:
        """Mean and standard deviation of the images."""
        return self.setup.preprocessing


def open_run(folder: RunFolder) -> RunSetup:
    """The setup of an existing run; its pretrained weights may be gone.

    Raises:
        ValueError: no run, or no devices of the requested kind.
    """
    return setup_of(folder.config(), folder.classes(), folder.preprocessing())


def restore(workdir: str | Path) -> Restored:
    """Load the selected weights of a run; of an unfinished run the best, or else the latest.

    Raises:
        ValueError: no run, no checkpoint in it yet, or a damaged one.

    Example:
        Of the run in the example of `gtn_jax.train`:

        >>> import gtn_jax
        >>> run = gtn_jax.restore("runs/digits")
        >>> run.classes[:3], run.model.backbone
        (('0', '1', '2'), 'resnet8_wide')
        >>> run.variables["params"]["classifier"]["fc"]["kernel"].shape
        (128, 10)
    """
    folder = RunFolder(Path(workdir))
    setup = open_run(folder)
    files, config = folder.checkpoints, setup.config
    with Checkpoints(files, read_only=True, config=config, classes=setup.classes) as checkpoints:
        while True:
            step = _selected_step(folder, checkpoints, config)
            try:
                state, _ = checkpoints.restore(setup.template(), step)
                break
            except ValueError:
                # A concurrent trainer may have replaced this step by a better one.
                if folder.summary() or checkpoints.has(step):
                    raise
    return Restored(setup, state.variables, step)


def _selected_step(folder: RunFolder, checkpoints: Checkpoints, config: Config) -> int:
    summary = folder.summary()
    if summary:
        return summary["selected_step"]
    step = checkpoints.best_step() if config.training.select != "last" else None
    if step is None:
        step = checkpoints.latest_step()
    if step is None:
        raise ValueError(f"{folder.path} has no checkpoint yet; continue the run first")
    return step


class Judged(NamedTuple):
    """Evaluation of a run on a split.

    `figures` are loss (nats), accuracy, top5_accuracy and images, for videos also those of
    `evaluate_clips`; `predictions` has a row per image or clip; `classes` are in label order.
    """

    figures: dict[str, float]
    predictions: SavedPredictions
    classes: tuple[str, ...]


def judge_run(
    workdir: Path,
    split: str,
    data_name: str | None = None,
    data_dir: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Judged:
    """Evaluate the selected weights of a run on one split of its data set.

    Args:
        workdir: run folder.
        split: test, validation or train.
        data_name: another data set with the same classes; None: the run's own.
        data_dir: folder of prepared data sets; None: the run's own.
        say: receives lines for the user.

    Raises:
        ValueError: no run, no checkpoint, no data set, one that has changed since, other classes,
            or no such split.
    """
    run = restore(workdir)
    images = open_split(run, workdir, split, data_name, data_dir, say)
    evaluation = evaluate_images(run.setup, run.variables, images, draw=run.step)
    return Judged(evaluation.figures, predictions_of(images, evaluation), run.classes)


def evaluate_run(workdir: Path, split: str) -> dict[str, float]:
    """The figures of `judge_run`, on the run's own data."""
    return judge_run(workdir, split).figures


def open_split(
    run: Restored,
    workdir: Path,
    split: str,
    data_name: str | None = None,
    data_dir: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Images:
    """The images of a split in the evaluation view; arguments and data errors as `judge_run`."""
    data = run.config.data
    name = data_name or data.name
    if name == NO_DATA:
        raise ValueError(
            f"{workdir} has no data set, it was converted from a checkpoint; give one, "
            "`data_name=NAME`"
        )
    data = absolute(dataclasses.replace(data, name=name, data_dir=data_dir or data.data_dir))
    parts = choose(open_data(data, say), data, run.config.seed)
    if split not in parts:
        raise ArgumentError("split", f"{name} has {', '.join(sorted(parts))}, no {split!r}")
    if data_name is None:
        RunFolder(workdir).check_data({split: fingerprint(parts[split])})
    _check_classes(run.classes, parts[split].split.classes, workdir, name)
    return load(parts[split], View.of(data, training=False))


def _check_classes(ours: tuple[str, ...], theirs: tuple[str, ...], run: Path, name: str) -> None:
    if len(ours) != len(theirs):
        raise ValueError(f"{run} knows {len(ours)} classes, {name} has {len(theirs)}")
    for label, (here, there) in enumerate(zip(ours, theirs, strict=True)):
        if here != there:
            raise ValueError(
                f"class {label} is {here!r} in {run} and {there!r} in {name}; the names must be "
                "equal and in the same order, or accuracy means nothing"
            )

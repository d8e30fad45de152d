"""What a run has in hand before its first step: images, state, and where it goes on.

Everything here happens once a process; loop.py is what happens again and again.
"""

import time
from typing import Any, NamedTuple

import grain

from gtn_jax.arrays import Variables
from gtn_jax.config import Config, override
from gtn_jax.data import pipeline
from gtn_jax.data import position as data_position
from gtn_jax.data.images import Images, View, load
from gtn_jax.data.subsets import fingerprint
from gtn_jax.devices import Devices, in_words, replicate
from gtn_jax.runs.checkpoints import Checkpoints, note
from gtn_jax.runs.folder import RunFolder
from gtn_jax.runs.provenance import start_row
from gtn_jax.runs.step_folders import StepFolders
from gtn_jax.runtime.distributed import broadcast_from_primary, is_primary
from gtn_jax.training.clock import Clock
from gtn_jax.training.duration import (
    TIMED_FROM,
    Pace,
    Work,
    announcement,
    measure,
    plan,
    work_after,
)
from gtn_jax.training.feature_cache import compute_features, frozen_gather
from gtn_jax.training.head_solver import SolvedHead
from gtn_jax.training.head_start import single_frames, solve_start
from gtn_jax.training.programs import load_variables
from gtn_jax.training.progress import few_steps
from gtn_jax.training.resolution import resolve
from gtn_jax.training.setup import SELECTED_ON, RunSetup, load_images, open_setup
from gtn_jax.training.state import TrainState

_NOTHING = -1
"""In the place of the newest step, where none is saved."""


class RunStart(NamedTuple):
    """A run, ready for the step after `step`.

    Attributes:
        setup: what it computes with.
        images: split name -> its images.
        state: fresh, or that of the newest whole checkpoint; on all devices.
        checkpoints: of the run, open for writing.
        step: steps that were done before.
        position: what was saved with them, see loop.py; None where nothing was.
        head: how the classifier was solved that the run starts from; see `_described`. None: not.
        order: what a data position of this run is a position in.
        clock: seconds so far.
        pace: how fast this machine is; None where nobody asked, or where it is over at once.
        time_lines: how long it takes, for a person; none likewise.
    """

    setup: RunSetup
    images: dict[str, Images]
    state: TrainState
    checkpoints: Checkpoints
    step: int
    position: dict[str, Any] | None
    head: dict[str, Any] | None
    order: dict[str, Any]
    clock: Clock
    pace: Pace | None
    time_lines: tuple[str, ...]

    def work_after(self, step: int | None) -> Work:
        """What is left to do after a step; None: of a run that has not begun."""
        return _work(self.setup, self.images, step)


def prepare_run(
    config: Config,
    folder: RunFolder,
    devices: Devices,
    is_timed: bool = False,
    deadline: float | None = None,
) -> RunStart:
    """Everything up to the first step; writes what readers of the folder need.

    Args:
        config: of the run, its paths absolute; what it leaves open is decided here.
        folder: of the run, which nobody else writes into.
        devices: the first so many local ones, these, or None: all.
        is_timed: whether somebody wants to know how long it takes.
        deadline: when a new run should be over, by `time.monotonic`; None: any time.

    Raises:
        ValueError: invalid value data, weights or devices that, or a folder of another run.
    """
    clock = Clock()
    with clock.timed("start"):
        setup, parts = open_setup(config, devices)
        fingerprints = {name: fingerprint(part) for name, part in parts.items()}
        folder.check_data(fingerprints)
        variables = load_variables(setup.config, setup.model)
        images = load_images(setup.config, parts, setup.mesh)
        # Of many processes the first looks.
        reached = broadcast_from_primary(
            max(StepFolders(folder.checkpoints, note).steps(), default=_NOTHING)
        )
        head = None
        if reached == _NOTHING and setup.config.training.head_start == "solved":
            with clock.timed("head"):
                setup, variables, head = _solve_head(setup, variables, images)
        state = setup.state(variables)
        pace, lines = None, ()
        left = setup.total_steps - max(0, reached)
        if deadline is not None or (is_timed and left >= TIMED_FROM):
            at = None if reached == _NOTHING else reached
            setup, pace, lines = _fit(setup, config, state, images, at, deadline, head is not None)
            clock.seconds["compile"] += pace.compile_seconds
            clock.seconds["start"] -= pace.compile_seconds

        folder.start(setup.config, setup.classes, setup.preprocessing)
        folder.keep_data(fingerprints)
        checkpoints = Checkpoints(folder.checkpoints, config=setup.config, classes=setup.classes)
        # The first process alone may tidy the folder up.
        newest = checkpoints.latest_step() if is_primary() else None
        step, position = broadcast_from_primary(_NOTHING if newest is None else newest), None
        data, seed = setup.config.data, setup.config.seed
        order = data_position.describe(data, fingerprints["train"], setup.epoch.batch_size, seed)
        if step != _NOTHING:
            state, position = checkpoints.restore(state, step)
            data_position.check(position.get("order"), order, f"{folder.checkpoints}/{step}")
            for part, seconds in position["seconds"].items():
                clock.seconds[part] = clock.seconds.get(part, 0.0) + seconds
            head = position.get("head")
        folder.rewind(step)
        folder.append_start(start_row(in_words(setup.mesh), max(0, step)))
    return RunStart(
        setup, images, state, checkpoints, max(0, step), position, head, order, clock, pace, lines
    )


def _solve_head(
    setup: RunSetup, variables: Variables, images: dict[str, Images]
) -> tuple[RunSetup, Variables, dict[str, Any]]:
    """Solve the classifiers on images as evaluation sees them.

    Returns:
        The setup, whose config says whether images are mirrored; variables with solved classifiers;
        and a description.
    """
    config, mesh = setup.config, setup.mesh
    view = View.of(config.data, training=False)

    def seen(of: Images) -> Images:
        part = single_frames(of.part)
        return of if of.view == view and part is of.part else load(part, view)

    validation = images.get("validation")
    found = solve_start(
        setup.programs.gated_step,
        replicate(variables, mesh),
        len(setup.classes),
        seen(images["train"]),
        None if validation is None else seen(validation),
        bool(config.data.random_flip),
        setup.evaluation_batch,
        mesh,
        config.seed,
    )
    head = _described(found.solved)
    if config.data.random_flip == "auto":
        head["mirrors"] = head["views"] > 1
        setup = setup.with_config(override(config, {"data.random_flip": head["mirrors"]}))
    return setup, found.variables, head


def _described(solved: SolvedHead) -> dict[str, Any]:
    """All but the arrays, as JSON."""
    return {k: v for k, v in solved._asdict().items() if k not in ("kernel", "bias")}


def _fit(
    setup: RunSetup,
    asked: Config,
    state: TrainState,
    images: dict[str, Images],
    step: int | None,
    deadline: float | None,
    is_solved: bool,
) -> tuple[RunSetup, Pace, tuple[str, ...]]:
    """Time a run, and shorten it to what fits before the deadline.

    Args:
        setup: of the run as it is asked for.
        asked: its config, not resolved.
        state: before its next step.
        images: split name -> its images.
        step: that was reached; None: it has not begun.
        deadline: see `prepare_run`.
        is_solved: whether there is a solved head.
    """
    # What the head has decided stays, whatever the length.
    asked = override(asked, {"data.random_flip": setup.config.data.random_flip})
    work, most = _work(setup, images, step), setup.total_steps
    pace = measure(setup, state, images, list(work.steps))
    steps, seconds = most, work.seconds(pace)
    if deadline is not None:
        epoch = setup.epoch

        def shortened(steps: int) -> RunSetup:
            return setup.with_config(
                resolve(asked, epoch.images, epoch.batch_size, epoch.steps, steps)
            )

        steps, seconds = plan(
            deadline, most, pace, lambda n: _work(shortened(n), images, None), is_solved
        )
        if steps < most:
            setup = shortened(steps)
            work = _work(setup, images, None)
    return setup, pace, announcement(work, most, steps, step or 0, seconds)


def _work(setup: RunSetup, images: dict[str, Images], step: int | None) -> Work:
    sizes = {name: len(part) for name, part in images.items()}
    watched = SELECTED_ON.get(setup.config.training.select, "validation")
    return work_after(setup.config, setup.epoch.steps, sizes, watched, step)


def in_lines(start: RunStart) -> list[str]:
    """What is about to happen, for a person."""
    setup, head = start.setup, start.head
    config = setup.config
    train = start.images["train"]
    sizes = ", ".join(f"{name} {len(part)}" for name, part in start.images.items())
    lines = [
        f"data    {config.data.name}: {len(setup.classes)} classes; {sizes} images",
        f"images  {train.place}",
        f"model   {config.model.backbone}, gate {config.model.gate}, "
        f"{start.state.parameters:,} parameters",
    ]
    if setup.epoch.batch_size != config.data.batch_size:
        there = train.epoch_images
        lines.append(f"note    batch of {setup.epoch.batch_size} images: there are only {there}")
    if config.training.select == "val" and "validation" not in start.images:
        lines.append("note    no validation images: the last step counts")
    advice = few_steps(config, setup.total_steps)
    if advice is not None:
        lines.append(f"note    {advice}")
    if head is not None and start.position is None:
        lines.append(
            f"head    solved in {start.clock.seconds['head']:.1f} s, with a bias; strength "
            f"{head['strength']:g}, chosen on {head['held_out']} images of {head['chosen_on']}"
        )
        if head.get("mirrors") is False:
            lines.append("note    nothing is mirrored: left and right differ in these images")
    stored, wanted = train.part.split.stored_short_side, train.view.short_side
    if stored not in (None, wanted):
        lines.append(
            f"note    images are stored {stored} pixels high or wide, and resized to {wanted}"
        )
    if start.position is not None:
        lines.append(f"resume  at step {start.step} of {setup.total_steps}")
    return [*lines, *start.time_lines]


def open_feed(start: RunStart) -> tuple[grain.DatasetIterator[Any], str | None]:
    """The batches after `start.step`, endless, and a line about features for a person.

    Where features are cached and the backbone is still frozen they are computed here, on resume
    too: the features have not changed. The iterator's state is the data position.
    """
    setup, state, train = start.setup, start.state, start.images["train"]
    data, epoch = setup.config.data, setup.epoch
    frozen_epochs, views = setup.config.training.freeze_epochs, data.feature_cache_views
    gather, line = None, None
    if views and start.step < frozen_epochs * epoch.steps:
        started = time.monotonic()
        pool = setup.programs.pooling_step
        cache = compute_features(
            pool, state.variables, state.key, train, views, epoch.batch_size, setup.mesh
        )
        gather = frozen_gather(cache, train, epoch.steps, frozen_epochs)
        line = (
            f"cache   features of {len(train)} images, {views} views each: "
            f"{time.monotonic() - started:.1f} s, {cache.bytes / 2**20:.1f} MiB"
        )
    seed = setup.config.seed % 2**32
    batches = pipeline.training_batches(train, epoch.batch_size, data.last_batch, seed, gather)
    if start.position is not None:
        batches.set_state(start.position["batches"])
    return batches, line

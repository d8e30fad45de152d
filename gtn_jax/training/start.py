"""Prepare a run: images, initial or restored state, run time. Once per process; loop.py trains."""

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
from gtn_jax.training.image_store import load_images
from gtn_jax.training.progress import few_steps
from gtn_jax.training.resolution import resolve
from gtn_jax.training.setup import RunSetup, load_variables, open_setup, watched_split
from gtn_jax.training.state import TrainState


class RunStart(NamedTuple):
    """A run, ready for the step after `step`.

    Attributes:
        setup: what it computes with.
        images: split -> images.
        state: initial, or of the newest intact checkpoint; on all devices.
        checkpoints: of the run, open for writing.
        step: steps done.
        position: saved with the checkpoint, see loop.py; None for a new run.
        head: description of the solved head that the run started from, see `_describe`; or None.
        order: identifies the order of the training data that a data position refers to.
        clock: seconds so far.
        pace: speed of this machine; None if not measured.
        time_lines: the estimated run time, for printing; empty if not measured.
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
        """The remaining work after a step; None: of a run that has not started."""
        return _work(self.setup, self.images, step)


def prepare_run(
    config: Config,
    folder: RunFolder,
    devices: Devices,
    is_timed: bool = False,
    deadline: float | None = None,
) -> RunStart:
    """Load or create everything that `Training` needs; writes config, classes and preprocessing.

    Args:
        config: with absolute paths; it is resolved here.
        folder: of the run, locked by this process.
        devices: the first n devices, these, or None: all.
        is_timed: whether to estimate the run time.
        deadline: of a new run, by `time.monotonic`; None: no limit.

    Raises:
        ValueError: unusable data, weights or devices, or a folder of another run.
    """
    clock = Clock()
    with clock.timed("start"):
        setup, parts = open_setup(config, devices)
        fingerprints = {name: fingerprint(part) for name, part in parts.items()}
        folder.check_data(fingerprints)
        variables = load_variables(setup.config, setup.model)
        images = load_images(setup.config, parts, setup.mesh)
        saved = _from_primary(max(StepFolders(folder.checkpoints, note).steps(), default=None))
        head = None
        if saved is None and setup.config.training.head_start == "solved":
            with clock.timed("head"):
                setup, variables, head = _solve_head(setup, variables, images)
        state = setup.state(variables)
        pace, time_lines = None, ()
        remaining = setup.total_steps - (saved or 0)
        if deadline is not None or (is_timed and remaining >= TIMED_FROM):
            is_solved = head is not None
            setup, pace, time_lines = _fit(setup, config, state, images, saved, deadline, is_solved)
            clock.seconds["compile"] += pace.compile_seconds
            clock.seconds["start"] -= pace.compile_seconds

        folder.start(setup.config, setup.classes, setup.preprocessing)
        folder.keep_data(fingerprints)
        data, seed = setup.config.data, setup.config.seed
        order = data_position.describe(data, fingerprints["train"], setup.epoch.batch_size, seed)
        checkpoints = Checkpoints(folder.checkpoints, config=setup.config, classes=setup.classes)
        # The newest step may be damaged: the primary process decides from which one all resume.
        step = _from_primary(checkpoints.latest_step() if is_primary() else None)
        position = None
        if step is not None:
            state, position = checkpoints.restore(state, step)
            data_position.check(position.get("order"), order, f"{folder.checkpoints}/{step}")
            for part, seconds in position["seconds"].items():
                clock.seconds[part] = clock.seconds.get(part, 0.0) + seconds
            head = position.get("head")
        # Without a checkpoint, the row of an evaluation at step 0 goes, too.
        folder.rewind(-1 if step is None else step)
        step = step or 0
        folder.append_start(start_row(in_words(setup.mesh), step))
    return RunStart(
        setup, images, state, checkpoints, step, position, head, order, clock, pace, time_lines
    )


def _from_primary(step: int | None) -> int | None:
    """The primary process's step, as only its view of the folder is certain."""
    shared = broadcast_from_primary(-1 if step is None else step)
    return None if shared == -1 else shared


def _solve_head(
    setup: RunSetup, variables: Variables, images: dict[str, Images]
) -> tuple[RunSetup, Variables, dict[str, Any]]:
    """Solve the classifiers; returns setup (with flips decided), variables and a description."""
    config, mesh = setup.config, setup.mesh
    view = View.of(config.data, training=False)

    def as_evaluated(of: Images) -> Images:
        part = single_frames(of.part)
        return of if of.view == view and part is of.part else load(part, view)

    validation = images.get("validation")
    start = solve_start(
        setup.programs.gated_step,
        replicate(variables, mesh),
        len(setup.classes),
        as_evaluated(images["train"]),
        None if validation is None else as_evaluated(validation),
        bool(config.data.random_flip),
        setup.evaluation_batch,
        mesh,
        config.seed,
    )
    head = _describe(start.solved)
    if config.data.random_flip == "auto":
        head["mirrors"] = head["views"] > 1
        setup = setup.with_config(override(config, {"data.random_flip": head["mirrors"]}))
    return setup, start.variables, head


def _describe(solved: SolvedHead) -> dict[str, Any]:
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
    """Time a run, and shorten it to fit before the deadline.

    `asked` is the unresolved config. `step` is None for a run that has not started.
    """
    # The solved head has decided this for any length.
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
    watched = watched_split(setup.config)
    return work_after(setup.config, setup.epoch.steps, sizes, watched, step)


def in_lines(start: RunStart) -> list[str]:
    """Lines that describe the run before it starts."""
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
    """The endless batches after `start.step`, and a line about cached features, or None.

    Cached features are computed here, also when a run resumes with a frozen backbone. The
    iterator's state is the data position.
    """
    setup, state, train = start.setup, start.state, start.images["train"]
    data, epoch = setup.config.data, setup.epoch
    frozen_epochs, views = setup.config.training.freeze_epochs, data.feature_cache_views
    gather, line = None, None
    if views and start.step < frozen_epochs * epoch.steps:
        started = time.monotonic()
        cache = compute_features(
            setup.programs.pooling_step,
            state.variables,
            state.key,
            train,
            views,
            epoch.batch_size,
            setup.mesh,
        )
        gather = frozen_gather(cache, train, epoch.steps, frozen_epochs)
        line = (
            f"cache   features of {len(train)} images, {views} views each: "
            f"{time.monotonic() - started:.1f} s, {cache.bytes / 2**20:.1f} MiB"
        )
    seed = setup.config.seed
    batches = pipeline.training_batches(train, epoch.batch_size, data.last_batch, seed, gather)
    if start.position is not None:
        batches.set_state(start.position["batches"])
    return batches, line

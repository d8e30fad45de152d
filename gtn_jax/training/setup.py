"""What a run has in hand before its first step: images, programs, state, and where it goes on.

Everything here happens once a process; loop.py is what happens again and again.
"""

import time
from typing import Any, NamedTuple

import jax

from gtn_jax.arrays import Variables
from gtn_jax.config import Config, override
from gtn_jax.data import pipeline
from gtn_jax.data import position as data_position
from gtn_jax.data.images import Images, View, load, open_images
from gtn_jax.data.sources import open_data
from gtn_jax.data.subsets import Part, choose, fingerprint
from gtn_jax.devices import Devices, data_mesh, in_words, replicate
from gtn_jax.runs.checkpoints import Checkpoints, note
from gtn_jax.runs.folder import RunFolder
from gtn_jax.runs.provenance import start_row
from gtn_jax.runs.step_folders import StepFolders
from gtn_jax.runtime.distributed import agreed, is_first
from gtn_jax.training.advice import few_steps
from gtn_jax.training.duration import (
    TIMED_FROM,
    Pace,
    Work,
    announcement,
    measure,
    plan,
    work_after,
)
from gtn_jax.training.head_solver import SolvedHead
from gtn_jax.training.head_start import HeadStart, single_frames, solve_start
from gtn_jax.training.image_store import place_images
from gtn_jax.training.programs import Programs, build_model, build_programs
from gtn_jax.training.resolution import resolve, total_steps
from gtn_jax.training.state import TrainState, create_state

SELECTED_ON = {"val": "validation", "test_best": "test"}
"""`training.select` -> the split whose best step is selected; "last" looks at none, and where there
is no such split the last step counts."""


class Prepared(NamedTuple):
    """A run, ready for the step after `step`.

    Attributes:
        config: resolved, of the run.
        mesh: over the devices that share each batch.
        images: split name -> its images.
        classes: names in label order.
        batch_size: images of a full batch; fewer than the config's where there are fewer images.
        per_epoch: steps of an epoch.
        programs: compiled on first use.
        state: fresh, or that of the newest whole checkpoint; on all devices.
        checkpoints: of the run, open for writing.
        step: steps that were done before.
        total_steps: of the whole run.
        position: what was saved with them, see loop.py; None where nothing was.
        head: how the classifier was solved that the run starts from; see `_described`. None: not.
        order: what a data position of this run is a position in.
        clock: seconds so far, by what they went into.
        pace: how fast this machine is; None where nobody asked, or where it is over at once.
        time_lines: how long it takes, for a person; none likewise.
    """

    config: Config
    mesh: jax.sharding.Mesh
    images: dict[str, Images]
    classes: tuple[str, ...]
    batch_size: int
    per_epoch: int
    programs: Programs
    state: TrainState
    checkpoints: Checkpoints
    step: int
    total_steps: int
    position: dict[str, Any] | None
    head: dict[str, Any] | None
    order: dict[str, Any]
    clock: dict[str, float]
    pace: Pace | None
    time_lines: tuple[str, ...]

    def work_after(self, step: int | None) -> Work:
        """What is left to do after a step; None: of a run that has not begun."""
        return _work(self.config, self.per_epoch, self.images, step)


def prepare_run(
    config: Config,
    folder: RunFolder,
    devices: Devices,
    is_timed: bool = False,
    deadline: float | None = None,
) -> Prepared:
    """Everything up to the first step; writes what readers of the folder need.

    Args:
        config: of the run, its paths absolute; what it leaves open is decided here.
        folder: of the run, which nobody else writes into.
        devices: the first so many local ones, these, or None: all.
        is_timed: whether somebody wants to know how long it takes.
        deadline: when a new run should be over, by `time.monotonic`; None: any time.

    Raises:
        ValueError: data, weights or devices that do not work, or a folder of another run.
    """
    # ---- devices, data, model --------------------------------------------------------------
    started = time.monotonic()
    mesh = data_mesh(devices)
    parts = choose(open_data(config.data), config.data, config.seed)
    classes = parts["train"].split.classes
    fingerprints = {name: fingerprint(part) for name, part in parts.items()}
    folder.check_data(fingerprints)
    # What needs no image is refused before they are decoded, which can take a while.
    epoch = epoch_of(config, parts["train"], mesh.size)
    _, batch_size, per_epoch = epoch
    asked, config = config, resolve(config, *epoch)
    model, variables, preprocessing = build_model(config, len(classes))

    # ---- images ----------------------------------------------------------------------------
    images = load_images(config, parts, mesh)

    # ---- a start, which says how long it takes ------------------------------------------------
    programs = build_programs(config, model, preprocessing, per_epoch, batch_size)
    clock: dict[str, float] = dict.fromkeys(
        ("start", "head", "cache", "compile", "train", "evaluate", "checkpoint"), 0.0
    )
    head, pace = None, None
    time_lines: tuple[str, ...] = ()
    # Of many processes the first looks.
    reached = agreed(max(StepFolders(folder.checkpoints, note).steps(), default=_NOTHING))
    if reached == _NOTHING and config.training.head_start == "solved":
        head_started = time.monotonic()
        found = _solved_start(config, programs, replicate(variables, mesh), images, classes, mesh)
        variables, head = found.variables, _described(found.solved)
        clock["head"] = time.monotonic() - head_started
        if config.data.random_flip == "auto":
            head["mirrors"] = head["views"] > 1
            decided = {"data.random_flip": head["mirrors"]}
            asked, config = override(asked, decided), override(config, decided)
            programs = build_programs(config, model, preprocessing, per_epoch, batch_size)
    rate, head_rate = config.optimizer.rates
    state = create_state(variables, programs.optimizer, rate, config.seed, head_rate)
    state = replicate(state, mesh)
    at = None if reached == _NOTHING else reached
    work, most = _work(config, per_epoch, images, at), total_steps(config, per_epoch)
    if deadline is not None or (is_timed and most - max(0, reached) >= TIMED_FROM):
        pace = measure(programs, state, images, batch_size, config, list(work.steps), mesh)
        steps, seconds = most, work.seconds(pace)
        if deadline is not None:

            def shortened(steps: int) -> Config:
                return resolve(asked, *epoch, steps)

            def work_of(steps: int) -> Work:
                return _work(shortened(steps), per_epoch, images, None)

            steps, seconds = plan(deadline, most, pace, work_of, head is not None)
            if steps < most:
                config, work = shortened(steps), work_of(steps)
                # The length is part of the step's program.
                programs = build_programs(config, model, preprocessing, per_epoch, batch_size)
        time_lines = announcement(work, most, steps, max(0, reached), seconds)
    compile_seconds = 0.0 if pace is None else pace.compile_seconds
    spent = clock["head"] + compile_seconds

    # ---- the folder; resume ------------------------------------------------------------------
    folder.start(config, classes, preprocessing)
    folder.keep_data(fingerprints)
    checkpoints = Checkpoints(folder.checkpoints, config=config, classes=classes)
    # The first process alone may tidy the folder up.
    newest = checkpoints.latest_step() if is_first() else None
    step, position = agreed(_NOTHING if newest is None else newest), None
    order = data_position.describe(config.data, fingerprints["train"], batch_size, config.seed)
    if step != _NOTHING:
        state, position = checkpoints.restore(state, step)
        data_position.check(position.get("order"), order, f"{folder.checkpoints}/{step}")
        clock |= position["seconds"]
        head = position.get("head")
    folder.rewind(step)
    folder.append_start(start_row(in_words(mesh), max(0, step)))
    clock["compile"] += compile_seconds
    clock["start"] += time.monotonic() - started - spent
    return Prepared(
        config, mesh, images, classes, batch_size, per_epoch, programs, state, checkpoints,
        max(0, step), total_steps(config, per_epoch), position, head, order, clock, pace,
        time_lines,
    )  # fmt: skip


def _work(config: Config, per_epoch: int, images: dict[str, Images], step: int | None) -> Work:
    sizes = {name: len(part) for name, part in images.items()}
    watched = SELECTED_ON.get(config.training.select, "validation")
    return work_after(config, per_epoch, sizes, watched, step)


class Epoch(NamedTuple):
    """How large it is.

    Attributes:
        images: that it shows.
        batch_size: of a full batch; fewer than the config's where there are fewer images.
        steps: one a batch.
    """

    images: int
    batch_size: int
    steps: int


def epoch_of(config: Config, train: Part, devices: int) -> Epoch:
    """How large an epoch is, before any image is decoded.

    Args:
        config: of the run.
        train: what it trains on.
        devices: that share each batch.

    Raises:
        ValueError: a batch that they cannot share.
    """
    images = open_images(train, View.of(config.data, training=True)).epoch_images
    shares = devices, config.training.accumulation_steps
    batch_size = pipeline.fit_batch_size(config.data.batch_size, images, *shares)
    return Epoch(
        images, batch_size, pipeline.steps_per_epoch(images, batch_size, config.data.last_batch)
    )


_NOTHING = -1
"""In the place of the newest step, where none is saved."""


def _solved_start(
    config: Config,
    programs: Programs,
    variables: Variables,
    images: dict[str, Images],
    classes: tuple[str, ...],
    mesh: jax.sharding.Mesh,
) -> HeadStart:
    """Solve the classifiers on images as evaluation sees them."""
    view = View.of(config.data, training=False)

    def seen(of: Images) -> Images:
        part = single_frames(of.part)
        return of if of.view == view and part is of.part else load(part, view)

    validation = images.get("validation")
    return solve_start(
        programs.gated_step,
        variables,
        len(classes),
        seen(images["train"]),
        None if validation is None else seen(validation),
        bool(config.data.random_flip),
        -(-config.data.eval_batch_size // mesh.size) * mesh.size,
        mesh,
        config.seed,
    )


def _described(solved: SolvedHead) -> dict[str, Any]:
    """All but the arrays, as JSON."""
    return {k: v for k, v in solved._asdict().items() if k not in ("kernel", "bias")}


def load_images(
    config: Config, parts: dict[str, Part], mesh: jax.sharding.Mesh
) -> dict[str, Images]:
    """Every part in the config's view: whole images to crop from in training, squares elsewhere.

    Raises:
        ValueError: as `check_parts`, an unreadable image, or images that do not fit where the
            config wants them.
    """
    check_parts(config, parts)
    data = config.data
    train = open_images(parts["train"], View.of(data, training=True))
    images = {"train": place_images(train, data.image_store, mesh)}
    view = View.of(data, training=False)
    return images | {name: load(parts[name], view) for name in parts if name != "train"}


def check_parts(config: Config, parts: dict[str, Part]) -> None:
    """Refuse images that this config cannot train on, before any of them is decoded.

    Raises:
        ValueError: one class only, no test split to select on, or videos whose features are to be
            cached.
    """
    data = config.data
    classes = parts["train"].split.classes
    if len(classes) < 2:
        found = ", ".join(classes)
        raise ValueError(f"data.name: {data.name} has one class ({found}); bring at least two")
    if data.cache_views and parts["train"].split.clips:
        raise ValueError(
            f"data.cache_views: {data.name} holds videos, of which each epoch draws other frames; "
            "set it to 0"
        )
    if config.training.select == "test_best" and "test" not in parts:
        raise ValueError(f"training.select: {data.name} has no test split; use val or last")


def in_lines(prepared: Prepared) -> list[str]:
    """What is about to happen, for a person."""
    config, head = prepared.config, prepared.head
    train = prepared.images["train"]
    sizes = ", ".join(f"{name} {len(part)}" for name, part in prepared.images.items())
    lines = [
        f"data    {config.data.name}: {len(prepared.classes)} classes; {sizes} images",
        f"images  {train.place}",
        f"model   {config.model.backbone}, gate {config.model.gate}, "
        f"{prepared.state.parameters:,} parameters",
    ]
    if prepared.batch_size != config.data.batch_size:
        there = train.epoch_images
        lines.append(f"note    batch of {prepared.batch_size} images: there are only {there}")
    if config.training.select == "val" and "validation" not in prepared.images:
        lines.append("note    no validation images: the last step counts")
    advice = few_steps(config, prepared.total_steps)
    if advice is not None:
        lines.append(f"note    {advice}")
    if head is not None and prepared.position is None:
        lines.append(
            f"head    solved in {prepared.clock['head']:.1f} s, with a bias; strength "
            f"{head['strength']:g}, chosen on {head['held_out']} images of {head['chosen_on']}"
        )
        if head.get("mirrors") is False:
            lines.append("note    nothing is mirrored: left and right differ in these images")
    stored, wanted = train.part.split.stored_short_side, train.view.short_side
    if stored not in (None, wanted):
        lines.append(
            f"note    images are stored {stored} pixels high or wide, and resized to {wanted}"
        )
    if prepared.position is not None:
        lines.append(f"resume  at step {prepared.step} of {prepared.total_steps}")
    return [*lines, *prepared.time_lines]

"""What a finished run sums up: which step counts, how good it is, and what it cost."""

from collections.abc import Iterable, Mapping
from typing import Any

from gtn_jax.config import Config
from gtn_jax.runs.predictions import Predictions
from gtn_jax.runtime.distributed import broadcast_from_primary, is_primary
from gtn_jax.runtime.interruption import active
from gtn_jax.training.clock import Clock
from gtn_jax.training.evaluate import evaluate_images, predictions_of
from gtn_jax.training.programs import trainable_parameters
from gtn_jax.training.score import is_as_good
from gtn_jax.training.setup import SELECTED_ON
from gtn_jax.training.start import RunStart
from gtn_jax.training.state import TrainState


def evaluate_selected(
    start: RunStart, state: TrainState, step: int, rows: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, Predictions]]:
    """Select as `training.select` says, and evaluate what was selected.

    The best step counts; where training began with a solved classifier and went through its whole
    schedule, the last one unless it is worse beyond chance (`is_as_good`).

    Args:
        start: of the run; its checkpoints are all saved.
        state: after the last step.
        step: the last one.
        rows: of `metrics.jsonl`.

    Returns:
        selected_step, selected_on, and the figures of each split but train; and split -> what was
        said of its images.

    Raises:
        Interrupted: a signal came; nothing is lost.
    """
    setup, checkpoints = start.setup, start.checkpoints
    watched = SELECTED_ON.get(setup.config.training.select)
    selected_on = watched if watched in start.images else None
    best = checkpoints.best_step() if selected_on and is_primary() else None
    if best is not None and start.head is not None and step == setup.total_steps:
        own = {row["step"]: row for row in rows if row.get("split") == selected_on}
        if step in own and is_as_good(own[step], own[best], own[0]["accuracy"]):
            best = step
    selected = broadcast_from_primary(step if best is None else best)
    if selected != step:
        state, _ = checkpoints.restore(state, selected)
    found: dict[str, Any] = {"selected_step": selected, "selected_on": selected_on}
    said: dict[str, Predictions] = {}
    for split in ("validation", "test"):
        if split in start.images:
            images = start.images[split]
            with active().at_once():
                evaluation = evaluate_images(setup, state.variables, images, selected)
            found |= {f"{split}_{name}": value for name, value in evaluation.figures.items()}
            said[split] = predictions_of(images, evaluation)
    return found, said


def costs(config: Config, state: TrainState, counted_images: int, clock: Clock) -> dict[str, Any]:
    """Parameters, speed and seconds, by the names of `summary.json`.

    Args:
        config: of the run.
        state: any of the run.
        counted_images: that steps took which count for the speed: on images, and not compiling. If
            0, images_per_second is None; steps on features count for the seconds only.
        clock: of the run.
    """
    seconds = clock.seconds
    return {
        "parameters": state.parameters,
        "trained_parameters": trainable_parameters(config, state.params),
        "images_per_second": counted_images / seconds["train"] if counted_images else None,
        "seconds": clock.total,
        **{f"{part}_seconds": spent for part, spent in seconds.items()},
    }

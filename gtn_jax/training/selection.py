"""The summary of a finished run: which step is selected, how good it is, and what it cost."""

from collections.abc import Iterable, Mapping
from typing import Any

from gtn_jax.config import Config
from gtn_jax.runs.predictions import SavedPredictions
from gtn_jax.runtime.distributed import broadcast_from_primary, is_primary
from gtn_jax.runtime.interruption import active
from gtn_jax.training.clock import Clock
from gtn_jax.training.evaluate import evaluate_images, predictions_of
from gtn_jax.training.score import is_as_good
from gtn_jax.training.setup import SELECTED_ON, trainable_parameters
from gtn_jax.training.start import RunStart
from gtn_jax.training.state import TrainState


def evaluate_selected(
    start: RunStart, state: TrainState, step: int, rows: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, SavedPredictions]]:
    """Select a step by `training.select`, and evaluate it.

    The best step is selected; after the full schedule of a solved start, the last one unless it is
    significantly worse (`is_as_good`).

    Args:
        start: of the run, with all checkpoints saved.
        state: after the last step.
        rows: of `metrics.jsonl`.

    Returns:
        selected_step, selected_on, and the figures of each split but train; and split ->
        predictions.

    Raises:
        Interrupted: a signal came; nothing is lost.
    """
    setup, checkpoints = start.setup, start.checkpoints
    watched = SELECTED_ON.get(setup.config.training.select)
    selected_on = watched if watched in start.images else None
    best = checkpoints.best_step() if selected_on and is_primary() else None
    if best is not None and start.head is not None and step == setup.total_steps:
        by_step = {row["step"]: row for row in rows if row.get("split") == selected_on}
        if step in by_step and is_as_good(by_step[step], by_step[best], by_step[0]["accuracy"]):
            best = step
    selected = broadcast_from_primary(step if best is None else best)
    if selected != step:
        state, _ = checkpoints.restore(state, selected)
    figures: dict[str, Any] = {"selected_step": selected, "selected_on": selected_on}
    predictions: dict[str, SavedPredictions] = {}
    for split in ("validation", "test"):
        if split in start.images:
            images = start.images[split]
            with active().at_once():
                evaluation = evaluate_images(setup, state.variables, images, selected)
            figures |= {f"{split}_{name}": value for name, value in evaluation.figures.items()}
            predictions[split] = predictions_of(images, evaluation)
    return figures, predictions


def costs(config: Config, state: TrainState, counted_images: int, clock: Clock) -> dict[str, Any]:
    """Parameters, speed and times, by their names in `summary.json`.

    `counted_images` are those of steps that count for the speed: on images, and not compiling. If
    0, images_per_second is None.
    """
    seconds = clock.seconds
    return {
        "parameters": state.parameters,
        "trained_parameters": trainable_parameters(config, state.params),
        "images_per_second": counted_images / seconds["train"] if counted_images else None,
        "seconds": clock.total,
        **{f"{part}_seconds": spent for part, spent in seconds.items()},
    }

"""What a finished run sums up: which step counts, how good it is, and what it cost."""

from collections.abc import Iterable, Mapping
from typing import Any

from gtn_jax.config import Config
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.predictions import Predictions
from gtn_jax.runtime.distributed import agreed, is_first
from gtn_jax.runtime.interruption import active
from gtn_jax.training.evaluate import evaluate_images, predictions_of
from gtn_jax.training.optimizer import Optimizer, trained_parameters
from gtn_jax.training.resolution import is_frozen
from gtn_jax.training.score import is_as_good
from gtn_jax.training.setup import SELECTED_ON, Prepared
from gtn_jax.training.state import TrainState


def evaluate_selected(
    config: Config,
    ready: Prepared,
    checkpoints: Checkpoints,
    state: TrainState,
    step: int,
    rows: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, Predictions]]:
    """Select as `training.select` says, and evaluate what was selected.

    The best step counts; where training began with a solved classifier and went through its whole
    schedule, the last one unless it is worse beyond chance (`is_as_good`).

    Args:
        config: of the run.
        ready: its images, programs and mesh.
        checkpoints: of the run, all of them saved.
        state: after the last step.
        step: the last one.
        rows: of `metrics.jsonl`.

    Returns:
        selected_step, selected_on, and the figures of each split but train; and split -> what was
        said of its images.

    Raises:
        Interrupted: a signal came; nothing is lost.
    """
    watched = SELECTED_ON.get(config.training.select)
    selected_on = watched if watched in ready.images else None
    best = checkpoints.best_step() if selected_on and is_first() else None
    if best is not None and ready.head is not None and step == ready.total_steps:
        own = {row["step"]: row for row in rows if row.get("split") == selected_on}
        if step in own and is_as_good(own[step], own[best], own[0]["accuracy"]):
            best = step
    selected = agreed(step if best is None else best)
    if selected != step:
        state, _ = checkpoints.restore(state, selected)
    found: dict[str, Any] = {"selected_step": selected, "selected_on": selected_on}
    said: dict[str, Predictions] = {}
    for split in ("validation", "test"):
        if split in ready.images:
            images = ready.images[split]
            with active().at_once():
                evaluation = evaluate_images(
                    ready.programs, state.variables, images, config, ready.mesh, selected
                )
            found |= {f"{split}_{name}": value for name, value in evaluation.figures.items()}
            said[split] = predictions_of(images, evaluation)
    return found, said


def costs(
    config: Config,
    optimizer: Optimizer,
    state: TrainState,
    counted_images: int,
    clock: dict[str, float],
) -> dict[str, Any]:
    """Parameters, speed and seconds, by the names of `summary.json`.

    Args:
        config: of the run.
        optimizer: of the run.
        state: any of the run.
        counted_images: that steps took which count for the speed: on images, and not compiling. If
            0, images_per_second is None; steps on features count for the seconds only.
        clock: seconds, by what they went into.
    """
    is_trunk_frozen = is_frozen(config)
    return {
        "parameters": state.parameters,
        "trained_parameters": trained_parameters(optimizer, state.params, is_trunk_frozen),
        "images_per_second": counted_images / clock["train"] if counted_images else None,
        "seconds": sum(clock.values()),
        **{f"{name}_seconds": seconds for name, seconds in clock.items()},
    }

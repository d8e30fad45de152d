"""Resolve what a config leaves open ("auto"), once the images are known.

A run folder stores the resolved config, and a resumed run adopts its decisions.
"""

from gtn_jax.config import Config, TrainingConfig, override
from gtn_jax.weights.recognize import AUTO, with_backbone

EVALUATIONS = 5
"""Of a run of "auto" length."""


def total_steps(config: Config, per_epoch: int) -> int:
    """Training steps of a resolved config."""
    steps = config.training.steps
    return config.training.epoch_count * per_epoch if steps is None else steps


def is_evaluation_due(step: int, total_steps: int, per_epoch: int, config: Config) -> bool:
    """Whether to evaluate after this many steps: periodically, and at the end."""
    return step % _evaluation_interval(per_epoch, config) == 0 or step == total_steps


def _evaluation_interval(per_epoch: int, config: Config) -> int:
    training = config.training
    return training.eval_every_steps or training.eval_every_epochs * per_epoch


def evaluations_after(step: int, total_steps: int, per_epoch: int, config: Config) -> int:
    """Number of evaluations due after `step`."""
    every = _evaluation_interval(per_epoch, config)
    at_the_end = total_steps > step and total_steps % every > 0
    return total_steps // every - step // every + at_the_end


def is_frozen(config: Config) -> bool:
    """Whether the backbone of a resolved config is frozen throughout."""
    training = config.training
    return training.steps == 0 or training.freeze_epochs >= training.epoch_count


def automatic_steps(images: int, batch_size: int) -> int:
    """Steps of the default recipe for this many training images (docs/training.md)."""
    return max(1, round(20 * images / batch_size))


def with_start(config: Config) -> Config:
    """Resolve backbone and head start, with the fields that a solved head needs.

    Raises:
        ValueError: no epochs and no solved head, so that nothing is learned; or unknown weights.
    """
    config = with_backbone(config)
    training, model = config.training, config.model
    if training.head_start == "solved":
        if model.weights is None or model.load_heads:
            config = override(config, {"training.head_start": "random"})
        else:
            config = override(config, {"model.classifier_bias": True})
    if config.data.random_flip == AUTO and config.training.head_start == "random":
        config = override(config, {"data.random_flip": True})
    if 0 in (training.epochs, training.steps) and config.training.head_start == "random":
        field = "training.steps" if training.steps == 0 else "training.epochs"
        fix = "set training.head_start to solved"
        if model.weights is None:
            fix += ", and model.weights"
        elif model.load_heads:
            fix += ", and model.load_heads to False"
        raise ValueError(f"{field}: 0 trains nothing; {fix}")
    return config


def resolve(
    config: Config, images: int, batch_size: int, per_epoch: int, most_steps: int | None = None
) -> Config:
    """Resolve every field; raises like `with_start`.

    Args:
        config: of the run.
        images: per epoch.
        batch_size: of a full batch.
        per_epoch: steps per epoch.
        most_steps: that fit into a time budget; None: no limit.
    """
    config, training = with_start(config), config.training
    if training.epochs != "auto":
        if most_steps is None or most_steps >= total_steps(config, per_epoch):
            return config
        return override(
            config,
            {"training.steps": most_steps, "training.epochs": max(1, -(-most_steps // per_epoch))},
        )
    steps = automatic_steps(images, batch_size) if training.steps is None else training.steps
    steps = steps if most_steps is None else min(steps, most_steps)
    every = training.eval_every_steps or max(1, -(-steps // EVALUATIONS))
    return override(
        config,
        {
            "training.steps": steps,
            "training.epochs": max(1, -(-steps // per_epoch)),
            "training.eval_every_steps": every,
        },
    )


def adopt(config: Config, existing: Config, is_budgeted: bool = False) -> Config:
    """Resolve what `config` leaves open as in an existing run; raises like `with_start`.

    `is_budgeted` accepts the run's length if a time budget may have shortened the one asked for.
    """
    if config.model.backbone == AUTO:
        model = existing.model
        stages = model.stages if config.model.stages is None else config.model.stages
        config = override(config, {"model.backbone": model.backbone, "model.stages": stages})
    if config.data.random_flip == AUTO:
        config = override(config, {"data.random_flip": existing.data.random_flip})
    config, training = with_start(config), config.training
    length = existing.training
    is_shortened = is_budgeted and _is_within(length, training)
    if training.epochs != "auto" and not is_shortened:
        return config
    steps = length.steps if is_shortened or training.steps is None else training.steps
    return override(
        config,
        {
            "training.epochs": length.epochs,
            "training.steps": steps,
            "training.eval_every_steps": training.eval_every_steps or length.eval_every_steps,
        },
    )


def _is_within(shorter: TrainingConfig, asked: TrainingConfig) -> bool:
    """Whether a budget may have made `shorter` of the length asked for."""
    epochs = asked.epochs == "auto" or shorter.epoch_count <= asked.epoch_count
    steps = asked.steps is None or (shorter.steps is not None and shorter.steps <= asked.steps)
    return epochs and steps

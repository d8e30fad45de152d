"""What a person should be told of a run that will learn little, and which option helps. No jax."""

import math

from gtn_jax.config import Config

FEW_STEPS = 100


def few_steps(config: Config, total_steps: int) -> str | None:
    """A line about a run that is too short for classifiers that start at random; None: it is not.

    Args:
        config: resolved.
        total_steps: of the run.
    """
    if config.training.head_start == "solved" or total_steps >= FEW_STEPS:
        return None
    fix = "--training.head_start solved starts from a solved classifier, "
    if config.model.weights is None:
        fix = ""
    return (
        f"{total_steps} steps are few for classifiers that start at random; {fix}"
        f"--training.steps {2 * FEW_STEPS} takes longer"
    )


def near_chance(accuracy: float, images: int, classes: int, config: Config) -> str | None:
    """A line about answers that are no better than guesses; None: they are, or so few cannot tell.

    Args:
        accuracy: 0..1, of
        images: that many images.
        classes: N; a guess is right once in N times, and by luck two deviations more often.
        config: resolved.
    """
    chance = 1 / classes
    most = chance + 2 * math.sqrt(chance * (1 - chance) / images)
    if accuracy > most or most >= 1:
        return None
    if config.training.head_start == "random" and config.model.weights is not None:
        fix = "--training.head_start solved starts from what the weights know"
    else:
        fix = "--find-lr looks for a rate, `gtn check-data` at the images"
    return f"answers are near chance, {100 * chance:.1f} %; {fix}"

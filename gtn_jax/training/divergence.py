"""The error for a non-finite loss or gradient. steps.py skips the update; loop.py ends the run."""

import numpy as np

_MOST_NAMES = 8


class Diverged(ValueError):
    """A loss or gradient is not finite."""


def refused_step(step: int, files: np.ndarray) -> Diverged:
    """The error that ends a run: the refused step, counted from 1, and the names of its images."""
    names = ", ".join(files[:_MOST_NAMES].tolist()) + (", ..." if len(files) > _MOST_NAMES else "")
    return Diverged(
        f"step {step}: loss or gradient is not finite; stopped before the update, the last good "
        f"step, {step - 1}, is kept.\nits {len(files)} images: {names}\n"
        "A lower optimizer.learning_rate is the usual cure; if the loss was low, look at the images"
    )

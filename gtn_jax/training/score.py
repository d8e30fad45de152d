"""Scores of evaluations for selection and early stopping. Does not import jax."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FEW_IMAGES = 50
"""With fewer images, the loss is more informative than the accuracy, a coarse count."""
FEW_SOLVED = 1000
"""The same for solved heads, whose confidence is calibrated: a rising loss then matters."""


def score(figures: Mapping[str, Any], few: int = FEW_IMAGES, floor: float = 0.0) -> float | None:
    """The score to maximize: accuracy, or the negative loss for less than `few` images.

    None if not selectable: a non-finite loss (nats), or an accuracy below `floor`, that of a solved
    start.
    """
    if not math.isfinite(figures["loss"]) or figures["accuracy"] < floor:
        return None
    return -figures["loss"] if figures["images"] < few else figures["accuracy"]


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy in 0..1 over this many images."""
    return math.sqrt(accuracy * (1 - accuracy) / images)


def is_as_good(later: Mapping[str, Any], best: Mapping[str, Any], floor: float) -> bool:
    """Whether the last evaluation, at low learning rates, is preferred to the best one before.

    It has seen more data and is stable; the best was selected, so an advantage of up to one
    standard error is likely chance. Both are of the same images; `floor` is the lowest accuracy to
    select.
    """
    error = standard_error(best["accuracy"], best["images"])
    return math.isfinite(later["loss"]) and later["accuracy"] >= max(
        floor, best["accuracy"] - error
    )


def is_stale(scores: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` of all scores so far did not improve; never for patience 0."""
    if not 0 < patience < len(scores):
        return False
    best = scores.index(max(scores))
    return len(scores) - 1 - best >= patience


def scores_until(
    rows: Iterable[Mapping[str, Any]],
    split: str,
    step: int,
    few: int = FEW_IMAGES,
    floor: float = 0.0,
) -> list[float]:
    """`score` of each evaluation of a split up to a step, from the rows of a run; -inf for None.

    Later rows may briefly exist while another process rewinds them.
    """
    evaluations = (row for row in rows if row.get("split") == split and row["step"] <= step)
    scores = (
        score(row, few, floor) for row in evaluations if isinstance(row.get("loss"), int | float)
    )
    return [-math.inf if value is None else value for value in scores]


def start_accuracy(rows: Iterable[Mapping[str, Any]], split: str) -> float:
    """Accuracy at step 0, from the rows of a run; 0 if not evaluated."""
    evaluations = (row for row in rows if row.get("split") == split and row["step"] == 0)
    return next((row["accuracy"] for row in evaluations), 0.0)

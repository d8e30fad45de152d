"""How good an evaluation is for selection, and when waiting for a better one ends. No jax here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FEW_IMAGES = 50
"""With fewer images than these their loss tells more than their accuracy, a coarse count."""
FEW_SOLVED = 1000
"""The same where training begins with solved classifiers, which know how sure they are: a loss that
rises is then no sign of growing confidence alone."""


def score(figures: Mapping[str, Any], few: int = FEW_IMAGES, floor: float = 0.0) -> float | None:
    """What selection maximizes: accuracy, of few images the negative loss; None: nothing to select,
    as the loss is not finite or the accuracy too low.

    Args:
        figures: accuracy, loss (nats) and images of an evaluation.
        few: fewer images than these are few; 0: accuracy counts whatever there is.
        floor: lowest accuracy that can be selected: that of a solved start.
    """
    if not math.isfinite(figures["loss"]) or figures["accuracy"] < floor:
        return None
    return -figures["loss"] if figures["images"] < few else figures["accuracy"]


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy in 0..1 over so many images."""
    return math.sqrt(accuracy * (1 - accuracy) / images)


def is_as_good(later: Mapping[str, Any], best: Mapping[str, Any], floor: float) -> bool:
    """Whether an evaluation at low rates counts, rather than the best of those before it.

    It has seen more and moves no longer; that the best one is better is chance up to a standard
    error, and a little more, as it was chosen.

    Args:
        later: accuracy and loss (nats) of an evaluation.
        best: accuracy and images of another one, of the same images.
        floor: lowest accuracy that can be selected.
    """
    error = standard_error(best["accuracy"], best["images"])
    return math.isfinite(later["loss"]) and later["accuracy"] >= max(
        floor, best["accuracy"] - error
    )


def is_stale(scores: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` evaluations were all no better than one before them.

    Args:
        scores: of every evaluation so far, in order.
        patience: how many to wait; 0: for ever.
    """
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
    """What evaluations of a split found up to a step, from the rows of a run; see `score`.

    A run that goes on waits on where it stopped. Later rows may still be there for a moment, as of
    many processes one tidies up.
    """
    own = (row for row in rows if row.get("split") == split and row["step"] <= step)
    scores = (score(row, few, floor) for row in own if isinstance(row.get("loss"), int | float))
    return [-math.inf if found is None else found for found in scores]


def start_accuracy(rows: Iterable[Mapping[str, Any]], split: str) -> float:
    """Accuracy at step 0, from the rows of a run; 0 where it was not evaluated then."""
    own = (row for row in rows if row.get("split") == split and row["step"] == 0)
    return next((row["accuracy"] for row in own), 0.0)

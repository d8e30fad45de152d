"""How good an evaluation is for selection, and when waiting for a better one ends. No jax here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FEW_IMAGES = 50
"""With fewer images than these their loss tells more than their accuracy, which is a coarse count
(docs/training.md has the measurement)."""


def score(figures: Mapping[str, Any], few: int = FEW_IMAGES) -> float | None:
    """What selection maximizes: accuracy, of few images the negative loss; None: a loss that is
    not finite.

    Args:
        figures: accuracy, loss (nats) and images of an evaluation.
        few: fewer images than these are few; 0: accuracy counts whatever there is.
    """
    if not math.isfinite(figures["loss"]):
        return None
    return -figures["loss"] if figures["images"] < few else figures["accuracy"]


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
    rows: Iterable[Mapping[str, Any]], split: str, step: int, few: int = FEW_IMAGES
) -> list[float]:
    """What evaluations of a split found up to a step, from the rows of a run.

    A run that goes on waits on where it stopped. Later rows may still be there for a moment, as of
    many processes one tidies up.
    """
    own = (row for row in rows if row.get("split") == split and row["step"] <= step)
    scores = (score(row, few) for row in own if isinstance(row.get("loss"), int | float))
    return [-math.inf if found is None else found for found in scores]

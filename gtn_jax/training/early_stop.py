"""When to stop before the last epoch. No jax here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def is_stale(accuracies: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` evaluations were all no better than one before them.

    Args:
        accuracies: of every evaluation so far, in order.
        patience: how many to wait; 0: for ever.
    """
    if not 0 < patience < len(accuracies):
        return False
    best = accuracies.index(max(accuracies))
    return len(accuracies) - 1 - best >= patience


def accuracies_until(rows: Iterable[Mapping[str, Any]], split: str, step: int) -> list[float]:
    """What evaluations of a split found up to a step, from the rows of a run.

    A run that goes on waits on where it stopped. Later rows may still be there for a moment, as of
    many processes one tidies up.
    """
    own = (row for row in rows if row.get("split") == split and row["step"] <= step)
    return [row["accuracy"] for row in own if isinstance(row.get("accuracy"), int | float)]

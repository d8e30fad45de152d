"""Predictions counted: right ones of each class, and which class is taken for which; and in words.

`report.py` draws the same counts.
"""

from typing import NamedTuple

import numpy as np

from gtn_jax.analysis.intervals import wilson_interval
from gtn_jax.runs.predictions import Predictions

_CLASSES_SHOWN = 20
_PAIRS_SHOWN = 5


class ClassCount(NamedTuple):
    """How many images of a class were found.

    Attributes:
        label: of the class.
        correct: images whose predicted class it is, of
        images: its images.
    """

    label: int
    correct: int
    images: int


class Confusion(NamedTuple):
    """How many images of one class were taken for another.

    Attributes:
        label: of the class that they are of.
        predicted: label of the class that they were taken for.
        images: their number.
    """

    label: int
    predicted: int
    images: int


def confusion_matrix(said: Predictions, classes: int) -> np.ndarray:
    """int64 C C: row i, column j counts images of class i that were called j."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (said.labels, said.predicted), 1)
    return matrix


def by_class(matrix: np.ndarray) -> list[ClassCount]:
    """The classes that there are images of, the lowest accuracy first; of equal ones by label."""
    totals, correct = matrix.sum(axis=1), np.diag(matrix)
    present = np.flatnonzero(totals).tolist()
    counts = [ClassCount(c, int(correct[c]), int(totals[c])) for c in present]
    return sorted(counts, key=lambda count: count.correct / count.images)


def most_confused(matrix: np.ndarray, pairs: int) -> list[Confusion]:
    """Up to so many pairs of classes that were confused, the most images first."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:pairs]
    places = [np.unravel_index(place, wrong.shape) for place in order]
    return [Confusion(int(i), int(j), int(wrong[i, j])) for i, j in places if wrong[i, j]]


def in_lines(split: str, said: Predictions, classes: tuple[str, ...]) -> list[str]:
    """What a person wants to know of a split: accuracy, that of classes, what is confused.

    Args:
        split: its name.
        said: of each of its images; of videos, of each clip.
        classes: names in label order.
    """
    matrix = confusion_matrix(said, len(classes))
    correct, total = int(np.trace(matrix)), int(matrix.sum())
    low, high = wilson_interval(correct, total)
    lines = [
        f"{split} accuracy {100 * correct / total:.1f} % ({correct:,} of {total:,}; "
        f"95 %: {100 * low:.1f} to {100 * high:.1f})"
    ]
    counts = by_class(matrix)
    shown = counts[:_CLASSES_SHOWN]
    width = max(len(classes[count.label]) for count in shown)
    lines.append("of each class, the lowest first:")
    for label, right, images in shown:
        share = f"{100 * right / images:5.1f} %"
        lines.append(f"  {classes[label]:<{width}}  {share}  {right:,} of {images:,}")
    if len(counts) > len(shown):
        lines.append(f"  and {len(counts) - len(shown):,} classes more")
    pairs = most_confused(matrix, _PAIRS_SHOWN)
    if pairs:
        totals = matrix.sum(axis=1)
        lines.append("confused most:")
        lines += [f"  {classes[i]} taken for {classes[j]}: {images:,} of {totals[i]:,}"
                  for i, j, images in pairs]  # fmt: skip
    return lines

"""Confusion matrix and accuracy by class, and both as lines of text."""

from typing import NamedTuple

import numpy as np

from gtn_jax.analysis.intervals import wilson_interval
from gtn_jax.runs.predictions import SavedPredictions

_CLASSES_SHOWN = 20
_PAIRS_SHOWN = 5


class ClassCount(NamedTuple):
    """Images of one class, and how many of them are classified correctly."""

    label: int
    correct: int
    images: int


class Confusion(NamedTuple):
    """Number of images of class `label` that are classified as `predicted`."""

    label: int
    predicted: int
    images: int


def confusion_matrix(predictions: SavedPredictions, classes: int) -> np.ndarray:
    """int64 N N: entry (i, j) counts the images of class i that are classified as class j."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (predictions.labels, predictions.predicted), 1)
    return matrix


def by_class(matrix: np.ndarray) -> list[ClassCount]:
    """Classes that have images, lowest accuracy first; ties by label."""
    totals, correct = matrix.sum(axis=1), np.diag(matrix)
    present = np.flatnonzero(totals).tolist()
    counts = [ClassCount(c, int(correct[c]), int(totals[c])) for c in present]
    return sorted(counts, key=lambda count: count.correct / count.images)


def most_confused(matrix: np.ndarray, pairs: int) -> list[Confusion]:
    """At most `pairs` pairs of confused classes, the most images first."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:pairs]
    places = [np.unravel_index(place, wrong.shape) for place in order]
    return [Confusion(int(i), int(j), int(wrong[i, j])) for i, j in places if wrong[i, j]]


def in_lines(split: str, predictions: SavedPredictions, classes: tuple[str, ...]) -> list[str]:
    """Accuracy with its 95 % interval, accuracy by class, and the most confused pairs.

    `predictions` has a row per image or, for videos, per clip.
    """
    matrix = confusion_matrix(predictions, len(classes))
    correct, total = int(np.trace(matrix)), int(matrix.sum())
    low, high = wilson_interval(correct, total)
    lines = [
        f"{split} accuracy {100 * correct / total:.1f} % ({correct:,} of {total:,}; "
        f"95 %: {100 * low:.1f} to {100 * high:.1f})"
    ]
    counts = by_class(matrix)
    shown = counts[:_CLASSES_SHOWN]
    width = max(len(classes[count.label]) for count in shown)
    lines.append("accuracy by class, lowest first:")
    for label, right, images in shown:
        percent = f"{100 * right / images:5.1f} %"
        lines.append(f"  {classes[label]:<{width}}  {percent}  {right:,} of {images:,}")
    if len(counts) > len(shown):
        lines.append(f"  and {len(counts) - len(shown):,} more classes")
    pairs = most_confused(matrix, _PAIRS_SHOWN)
    if pairs:
        totals = matrix.sum(axis=1)
        lines.append("most confused:")
        lines += [f"  {classes[i]} classified as {classes[j]}: {images:,} of {totals[i]:,}"
                  for i, j, images in pairs]  # fmt: skip
    return lines

"""Counts of right and wrong answers, and the sentences about them, against counting by hand."""

import numpy as np

from gtn_jax.analysis.answers import by_class, confusion_matrix, in_lines, most_confused
from gtn_jax.runs.predictions import SavedPredictions


def said(labels: list[int], predicted: list[int]) -> SavedPredictions:
    ones = np.ones(len(labels), np.float32)
    files = np.array([f"{number}.jpg" for number in range(len(labels))])
    return SavedPredictions(
        files, np.array(labels, np.int32), np.array(predicted, np.int32), 0.9 * ones, 0.5 * ones
    )


# Of class 0 three of four are found, of 1 one of three, of 2 nothing is there, of 3 none of one.
SAID = said([0, 0, 0, 0, 1, 1, 1, 3], [0, 0, 0, 1, 1, 0, 0, 2])


def test_counts_by_hand():
    matrix = confusion_matrix(SAID, 4)
    assert matrix.tolist() == [[3, 1, 0, 0], [2, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert by_class(matrix) == [(3, 0, 1), (1, 1, 3), (0, 3, 4)]
    assert most_confused(matrix, 5) == [(1, 0, 2), (0, 1, 1), (3, 2, 1)]
    assert most_confused(matrix, 1) == [(1, 0, 2)]


def test_words_by_hand():
    """4 of 8: (1/2 + z^2/16) / (1 + z^2/8) is 1/2, +- z sqrt(1/32 + z^2/256) / (1 + z^2/8)."""
    assert in_lines("test", SAID, ("glass", "plastic", "tin", "paper")) == [
        "test accuracy 50.0 % (4 of 8; 95 %: 21.5 to 78.5)",
        "accuracy by class, lowest first:",
        "  paper      0.0 %  0 of 1",
        "  plastic   33.3 %  1 of 3",
        "  glass     75.0 %  3 of 4",
        "most confused:",
        "  plastic classified as glass: 2 of 3",
        "  glass classified as plastic: 1 of 4",
        "  paper classified as tin: 1 of 1",
    ]


def test_many_classes_and_nothing_wrong():
    labels = list(range(30))
    lines = in_lines("validation", said(labels, labels), tuple(f"class {n}" for n in labels))
    assert lines[0] == "validation accuracy 100.0 % (30 of 30; 95 %: 88.6 to 100.0)"
    assert len(lines) == 1 + 1 + 20 + 1 and lines[-1] == "  and 10 more classes"

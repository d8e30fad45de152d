"""What a run's selected weights said of every image they were evaluated on: `predictions.npz`.

Enough to see where a run was wrong, and to compare runs image by image. No jax here.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gtn_jax.files import write_arrays


class Predictions(NamedTuple):
    """The answers for one split; of videos, one row a clip.

    Attributes:
        files: str B, as the data set names its images; of a clip, the file of one of its frames.
        labels: int32 B.
        predicted: int32 B, the class of the largest logit.
        predicted_probability: float32 B, that class's.
        label_probability: float32 B, the label's.
    """

    files: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    predicted_probability: np.ndarray
    label_probability: np.ndarray


def write_predictions(path: Path, found: Mapping[str, Predictions]) -> None:
    """Write one .npz with an array `SPLIT_FIELD` for each field of each split.

    Raises:
        ValueError: it cannot be written.
    """
    arrays = {
        f"{split}_{field}": array
        for split, predictions in found.items()
        for field, array in predictions._asdict().items()
    }
    write_arrays(path, arrays)


def read_predictions(path: Path, split: str) -> Predictions | None:
    """What `write_predictions` wrote of a split; None if it wrote nothing (an older version's run).

    Raises:
        ValueError: the file is damaged.
    """
    return parse_predictions(path.read_bytes(), path, split) if path.exists() else None


def parse_predictions(content: bytes, path: Path, split: str) -> Predictions | None:
    """As `read_predictions`, of what was read of `path` already."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            if f"{split}_labels" not in file:
                return None
            found = Predictions(*(file[f"{split}_{field}"] for field in Predictions._fields))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not readable ({error}); remove it") from error
    if {array.shape for array in found} != {found.labels.shape} or found.labels.ndim != 1:
        raise ValueError(f"{path}: not readable (arrays of {split} differ in length); remove it")
    return found

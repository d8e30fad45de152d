"""`predictions.npz`: the selected weights' prediction for every evaluated image. Does not import
jax."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gtn_jax.files import write_arrays


class SavedPredictions(NamedTuple):
    """Predictions for one split; for videos, one row per clip.

    Attributes:
        files: str B, image names in the data set; for a clip, one of its frames.
        labels: int32 B.
        predicted: int32 B, the class of the largest logit.
        predicted_probability: float32 B, of that class.
        label_probability: float32 B, of the label.
    """

    files: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    predicted_probability: np.ndarray
    label_probability: np.ndarray


def write_predictions(path: Path, predictions: Mapping[str, SavedPredictions]) -> None:
    """Write an .npz with an array `SPLIT_FIELD` for each field of each split; raises ValueError."""
    arrays = {
        f"{split}_{field}": array
        for split, arrays_of_split in predictions.items()
        for field, array in arrays_of_split._asdict().items()
    }
    write_arrays(path, arrays)


def read_predictions(path: Path, split: str) -> SavedPredictions | None:
    """Predictions for a split, None if there are none (older versions); ValueError if damaged."""
    return parse_predictions(path.read_bytes(), path, split) if path.exists() else None


def parse_predictions(content: bytes, path: Path, split: str) -> SavedPredictions | None:
    """`read_predictions` of the content of `path`."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            if f"{split}_labels" not in file:
                return None
            predictions = SavedPredictions(
                *(file[f"{split}_{field}"] for field in SavedPredictions._fields)
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not readable ({error}); remove it") from error
    if {array.shape for array in predictions} != {
        predictions.labels.shape
    } or predictions.labels.ndim != 1:
        raise ValueError(f"{path}: not readable (arrays of {split} differ in length); remove it")
    return predictions

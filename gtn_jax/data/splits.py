"""Splits of prepared data sets, read with random access and without decoding.

Through ArrayRecord and TFDS's `as_data_source` (https://www.tensorflow.org/datasets/data_source).
Which data set a name means is sources.py's; shuffling and batching are pipeline.py's.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

_READ_AT_ONCE = 1024


class Index(NamedTuple):
    """What is known of a split's images without their pixels.

    Attributes:
        labels: int32 B.
        files: str B, names in the source.
    """

    labels: np.ndarray
    files: np.ndarray


@dataclasses.dataclass(frozen=True)
class Split:
    """Random access to one split, still encoded.

    Attributes:
        source: TFDS data source of `{"image": bytes, "label": int, "file": bytes}`.
        classes: class names in label order.
        name: "train", "validation" or "test".
        stored_short_side: of every image, in pixels; None: files as they came.
        clips: whether the images are frames of videos, see clips.py.
    """

    source: Any
    classes: tuple[str, ...]
    name: str
    stored_short_side: int | None = None
    clips: bool = False

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def read(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Examples at these positions; many at once cost an eighth of one by one."""
        return self.source.__getitems__([int(position) for position in positions])

    def index(self) -> Index:
        """Label and file of every image; reads all records."""
        labels, files = [], []
        for start in range(0, len(self), _READ_AT_ONCE):
            for example in self.read(range(start, min(start + _READ_AT_ONCE, len(self)))):
                labels.append(example["label"])
                files.append(example["file"].decode())
        return Index(np.array(labels, np.int32), np.array(files))


def open_store(folder: Path, short_side: int | None, clips: bool = False) -> dict[str, Split]:
    """Every split of one version of a prepared data set.

    Args:
        folder: that TFDS finished.
        short_side: of its images in pixels; None: files as they came.
        clips: whether images are frames of videos.
    """
    builder: Any = tfds.builder_from_directory(folder)
    classes = tuple(builder.info.features["label"].names)
    as_stored = {"image": tfds.decode.SkipDecoding()}
    return {
        name: Split(
            builder.as_data_source(split=name, decoders=as_stored), classes, name, short_side, clips
        )
        for name in builder.info.splits
    }

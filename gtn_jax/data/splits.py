"""Splits of prepared data sets, read with random access and without decoding.

Through ArrayRecord and TFDS's `as_data_source` (https://www.tensorflow.org/datasets/data_source).
Which data set a name means is sources.py's; what becomes of the images is images.py's and
pipeline.py's.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from gtn_jax.data import stores
from gtn_jax.data.index import Index, index_file, load_index
from gtn_jax.data.rgb import upright_size

_READ_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class Split:
    """Random access to one split, still encoded.

    Attributes:
        source: TFDS data source of `{"image": bytes, "label": int, "file": bytes}`.
        classes: class names in label order.
        name: "train", "validation" or "test".
        stored_short_side: of every image, in pixels; None: files as they came.
        clips: whether the images are frames of videos, see clips.py.
        index_file: from index.py, or None where nobody wrote one.
        folder: where the records are; None: in no folder.
    """

    source: Any
    classes: tuple[str, ...]
    name: str
    stored_short_side: int | None = None
    clips: bool = False
    index_file: Path | None = None
    folder: Path | None = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def read(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Examples at these positions; many at once cost an eighth of one by one.

        Raises:
            ValueError: damaged records; ArrayRecord has a checksum for each.
        """
        with stores.undamaged(self.folder) if self.folder else contextlib.nullcontext():
            return self.source.__getitems__([int(position) for position in positions])

    def index(self) -> Index:
        """Label, file and size of every image; without an index file this reads all records.

        Raises:
            ValueError: a damaged index, or an image without a readable header.
        """
        if self.index_file is not None:
            return load_index(self.index_file)
        labels, files, sizes = [], [], []
        for start in range(0, len(self), _READ_AT_ONCE):
            for example in self.read(range(start, min(start + _READ_AT_ONCE, len(self)))):
                file = example["file"].decode()
                labels.append(example["label"])
                files.append(file)
                sizes.append(upright_size(example["image"], file)[::-1])
        return Index(np.array(labels, np.int32), np.array(files), np.array(sizes).reshape(-1, 2))


def open_store(folder: Path, short_side: int | None, clips: bool = False) -> dict[str, Split]:
    """Every split of one version of a prepared data set.

    Args:
        folder: that TFDS finished.
        short_side: of its images in pixels; None: files as they came.
        clips: whether images are frames of videos.

    Raises:
        ValueError: damaged, or without the names of its classes.
    """
    as_stored = {"image": tfds.decode.SkipDecoding()}
    with stores.undamaged(folder):
        builder: Any = tfds.builder_from_directory(folder)
        label = builder.info.features["label"]
        _check_names(folder / "label.labels.txt", label.num_classes)
        return {
            name: Split(
                builder.as_data_source(split=name, decoders=as_stored),
                tuple(label.names),
                name,
                short_side,
                clips,
                index_file(folder, name),
                folder,
            )
            for name in builder.info.splits
        }


def _check_names(file: Path, count: int) -> None:
    """Without the file, or with too few names in it, TFDS would go on, with other names."""
    names = [name for name in file.read_text().split("\n") if name.strip()]
    if len(names) != count:
        raise ValueError(f"{file.name} names {len(names)} of {count} classes")

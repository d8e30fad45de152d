"""Splits of prepared data sets: random access to encoded images.

Reads ArrayRecord through TFDS's `as_data_source`
(https://www.tensorflow.org/datasets/data_source).
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from gtn_jax.data import stores
from gtn_jax.data.rgb import upright_size
from gtn_jax.files import write_arrays

_READ_AT_ONCE = 1024


class Index(NamedTuple):
    """Properties of a split's images, in the order of the records.

    Stored in an .npz file beside the records: reading every record would take as long as an epoch.
    """

    labels: np.ndarray  # int B
    files: np.ndarray  # str B, names in the source
    sizes: np.ndarray  # int B 2, height and width in pixels


def index_file(folder: Path, split: str) -> Path:
    """Path of a split's index in the directory of a data set's version."""
    return folder / f"index-{split}.npz"


def save_index(index: Index, folder: Path, split: str) -> None:
    """Write the index of a split."""
    write_arrays(index_file(folder, split), index._asdict())


def load_index(path: Path) -> Index:
    """Read what `save_index` wrote; ValueError if it is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return Index(*(arrays[name] for name in Index._fields))
    except Exception as error:  # BadZipFile, zlib.error, EOFError and others
        # NumPy suggests allowing pickles for what is not an archive.
        reason = "no .npz file" if "pickle" in str(error) else error
        raise ValueError(
            f"{path}: not readable ({reason}); remove its folder and prepare the data set again"
        ) from error


@dataclasses.dataclass(frozen=True)
class Split:
    """Random access to the encoded images of a split."""

    source: Any  # TFDS data source of `{"image": bytes, "label": int, "file": bytes}`
    classes: tuple[str, ...]  # names in label order
    name: str  # "train", "validation" or "test"
    stored_short_side: int | None = None  # of every image in pixels; None: files stored unchanged
    clips: bool = False  # whether images are frames of videos, see clips.py
    index_file: Path | None = None
    folder: Path | None = None  # of the records, if any

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def read(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Examples at these positions; reading many at once takes an eighth of the time.

        ValueError for damaged records: ArrayRecord has a checksum for each.
        """
        with stores.undamaged(self.folder) if self.folder else contextlib.nullcontext():
            return self.source.__getitems__([int(position) for position in positions])

    def index(self) -> Index:
        """The index; without an index file this reads all records. ValueError if the index or an
        image's header is damaged."""
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
    """Every split of one version of a prepared data set; ValueError if damaged."""
    as_stored = {"image": tfds.decode.SkipDecoding()}
    with stores.undamaged(folder):
        builder: Any = tfds.builder_from_directory(folder)
        label = builder.info.features["label"]
        label_file = folder / "label.labels.txt"
        names = [name for name in label_file.read_text().split("\n") if name.strip()]
        if len(names) != label.num_classes:  # TFDS would silently substitute other names
            raise ValueError(f"{label_file.name} names {len(names)} of {label.num_classes} classes")
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

"""Names of data sets -> their images on disk.

`prepare` runs a builder once; `open_splits` reads what it wrote, through ArrayRecord and TFDS's
`as_data_source`, with random access and without decoding. Does not shuffle or batch: pipeline.py.
"""

import contextlib
import dataclasses
import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from gtn_jax.errors import unknown_name

_READ_AT_ONCE = 1024


class DatasetEntry(NamedTuple):
    """One row of `DATASETS`.

    Attributes:
        module: builder module in `gtn_jax.data.builders`.
        builder: its class.
        needs_source: whether the user must bring a file or folder; otherwise the first use
            prepares the data by itself.
        clips: whether images are frames of videos, see `gtn_jax.data.clips`.
    """

    module: str
    builder: str
    needs_source: bool
    clips: bool = False


DATASETS = {
    "digits": DatasetEntry("digits", "Digits", needs_source=False),
    "tiny_imagenet": DatasetEntry("tiny_imagenet", "TinyImagenet", needs_source=True),
    "ucf101": DatasetEntry("ucf101", "Ucf101", needs_source=True, clips=True),
}
"""Name -> builder. A later data set is one builder file and one row."""


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
        clips: whether the images are frames of videos, see clips.py.
    """

    source: Any
    classes: tuple[str, ...]
    name: str
    clips: bool = False

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def read(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Examples at these positions; many at once cost an eighth of one by one."""
        return self.source.__getitems__([int(position) for position in positions])

    def index(self) -> "Index":
        """Label and file of every image; reads all records."""
        labels, files = [], []
        for start in range(0, len(self), _READ_AT_ONCE):
            for example in self.read(range(start, min(start + _READ_AT_ONCE, len(self)))):
                labels.append(example["label"])
                files.append(example["file"].decode())
        return Index(np.array(labels, np.int32), np.array(files))


def prepare(name: str, data_dir: str, source: Path | None = None) -> dict[str, int]:
    """Build a data set into `data_dir` (a no-op where it is already there).

    Returns:
        Images per split.

    Raises:
        ValueError: unknown name, or a source that is missing or not what the builder reads.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    entry = DATASETS[name]
    module = importlib.import_module(f"gtn_jax.data.builders.{entry.module}")
    folder = Path(data_dir).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    builder = getattr(module, entry.builder)(source=source, data_dir=folder)
    builder.download_and_prepare()
    return {split: info.num_examples for split, info in builder.info.splits.items()}


def open_splits(name: str, data_dir: str) -> dict[str, Split]:
    """Every split of a prepared data set; one that needs no source is prepared on first use.

    Raises:
        ValueError: unknown name, or not prepared yet.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    entry = DATASETS[name]
    folder = Path(data_dir).expanduser() / name
    # Digits only: a preparation that was cut short leaves a folder "incomplete.XXXXXX_1.0.0".
    versions = sorted(p for p in folder.glob("[0-9]*.*.*") if (p / "dataset_info.json").is_file())
    if not versions:
        if entry.needs_source:
            raise ValueError(
                f"data set {name!r} is not in {data_dir}; bring it in once with "
                f"`gtn prepare {name} --source PATH --data-dir {data_dir}`"
            )
        # A moment's work: TFDS's own account of it would be longer than what it is about.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            prepare(name, data_dir)
        return open_splits(name, data_dir)
    builder: Any = tfds.builder_from_directory(versions[-1])
    classes = tuple(builder.info.features["label"].names)
    return {split: _open(builder, split, classes) for split in builder.info.splits}


def _open(builder: Any, split: str, classes: tuple[str, ...]) -> Split:
    as_stored = {"image": tfds.decode.SkipDecoding()}
    source = builder.as_data_source(split=split, decoders=as_stored)
    return Split(source, classes, split)

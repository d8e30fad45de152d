"""Tiny-ImageNet at 32x32 pixels: 200 classes, 100,000 training and 10,000 validation images.

The source is one .npz file: `train_jpeg` (JPEG files end to end, uint8), `train_offsets` (N+1
positions in it), `train_labels`, the same three for `val`, and `names` of the classes.
Tiny-ImageNet (http://cs231n.stanford.edu/tiny-imagenet-200.zip) is a subset of ImageNet:
non-commercial research and education only. There is no labelled test split.
"""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from gtn_jax.data.builders.base import Example, ImageClassificationBuilder

_ARRAYS = ("jpeg", "offsets", "labels")


class TinyImagenet(ImageClassificationBuilder):
    """Two hundred classes, JPEG, 32x32 RGB. Needs `source`, the .npz file, to prepare."""

    keeps_files = True
    description = "Tiny-ImageNet, 200 classes of ImageNet, resized to 32x32 pixels."
    homepage = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

    def classes(self) -> list[str]:
        """Words of the 200 WordNet nouns; several nouns for one class are divided by commas."""
        with self._open() as arrays:
            return [str(name).replace("\n", " ") for name in arrays["names"]]

    def examples(self) -> dict[str, Iterator[Example]]:
        """`train` and `validation`, in the file's order."""
        with self._open() as arrays:
            train, validation = (
                [arrays[f"{part}_{name}"] for name in _ARRAYS] for part in ("train", "val")
            )
        return {
            "train": _examples(train, "train"),
            "validation": _examples(validation, "val"),
        }

    def _open(self) -> Any:
        if self.source is None or not self.source.is_file():
            raise ValueError(
                f"tiny_imagenet: {self.source} is not a file; give the .npz with "
                "`gtn prepare tiny_imagenet --source FILE.npz`"
            )
        try:
            arrays = np.load(io.BytesIO(self.source.read_bytes()))
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.source}: not a readable .npz file ({error})") from error
        wanted = {f"{part}_{name}" for part in ("train", "val") for name in _ARRAYS} | {"names"}
        missing = sorted(wanted - set(getattr(arrays, "files", ())))
        if missing:
            raise ValueError(f"{self.source}: lacks the arrays {', '.join(missing)}")
        return arrays


def _examples(arrays: list[np.ndarray], part: str) -> Iterator[Example]:
    files, offsets, labels = arrays
    for number, label in enumerate(labels):
        encoded = files[offsets[number] : offsets[number + 1]].tobytes()
        yield Example(f"{part}_{number:06d}.jpg", encoded, int(label))

"""Tiny-ImageNet at 32x32 pixels: 200 classes, 100,000 training and 10,000 validation images.

The source is one .npz file: `train_jpeg` (concatenated JPEG files, uint8), `train_offsets` (N+1
positions in it), `train_labels`, the same three for `val`, and `names` of the classes.
Tiny-ImageNet (http://cs231n.stanford.edu/tiny-imagenet-200.zip) is a subset of ImageNet:
non-commercial research and education only. There is no labeled test split.
"""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from gtn_jax.data.builders.base import Example, ImageClassificationBuilder

_ARRAYS = ("jpeg", "offsets", "labels")


class TinyImagenet(ImageClassificationBuilder):
    """200 classes, JPEG, 32x32 RGB. `source` is the .npz file."""

    keeps_files = True
    description = "Tiny-ImageNet, 200 classes of ImageNet, resized to 32x32 pixels."
    homepage = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

    def classes(self) -> list[str]:
        """Names of the WordNet nouns; synonyms are separated by commas."""
        with self._open() as arrays:
            names = [str(name).replace("\n", " ") for name in self._array(arrays, "names", "U")]
        if len(set(names)) < len(names):
            raise ValueError(f"{self.source}: names: {len(names)}, of which some are the same")
        return names

    def examples(self) -> dict[str, Iterator[Example]]:
        """Split -> examples in the order of the file."""
        with self._open() as arrays:
            classes = len(arrays["names"])
            train, validation = (self._part(arrays, part, classes) for part in ("train", "val"))
        return {"train": _examples(train, "train"), "validation": _examples(validation, "val")}

    def _open(self) -> Any:
        if self.source is None or not self.source.is_file():
            raise ValueError(
                f"tiny_imagenet: {self.source} is not a file; give the .npz, `source=FILE.npz`"
            )
        try:
            arrays = np.load(io.BytesIO(self.source.read_bytes()))
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            # NumPy suggests allowing pickles for what is not an archive.
            reason = "no archive" if "pickle" in str(error) else error
            raise ValueError(f"{self.source}: not a readable .npz file ({reason})") from error
        wanted = {f"{part}_{name}" for part in ("train", "val") for name in _ARRAYS} | {"names"}
        missing = sorted(wanted - set(getattr(arrays, "files", ())))
        if missing:
            raise ValueError(f"{self.source}: lacks the arrays {', '.join(missing)}")
        return arrays

    def _part(self, arrays: Any, part: str, classes: int) -> list[np.ndarray]:
        """Files, offsets and labels of "train" or "val", checked against each other."""
        kinds = {"jpeg": "u", "offsets": "iu", "labels": "iu"}
        jpeg, offsets, labels = (
            self._array(arrays, f"{part}_{name}", kinds[name]) for name in _ARRAYS
        )
        ends = np.concatenate([[0], offsets, [len(jpeg)]])
        for name, is_valid, wanted in (
            ("offsets", len(offsets) == len(labels) + 1, f"one more than {len(labels)} labels"),
            ("offsets", (ends[:-1] <= ends[1:]).all(), f"rising from 0 to at most {len(jpeg)}"),
            ("labels", ((labels >= 0) & (labels < classes)).all(), f"0 to {classes - 1}"),
        ):
            if not is_valid:
                raise ValueError(f"{self.source}: {part}_{name}: wanted {wanted}")
        return [jpeg, offsets, labels]

    def _array(self, arrays: Any, name: str, kinds: str) -> np.ndarray:
        """A one-dimensional array whose `dtype.kind` is in `kinds`."""
        try:
            array = arrays[name]
        # A damaged member raises BadZipFile, zlib.error, EOFError and others.
        except Exception as error:
            reason = "Python objects" if "pickle" in str(error) else error
            raise ValueError(f"{self.source}: {name} is not readable ({reason})") from error
        if array.ndim != 1 or array.dtype.kind not in kinds:
            wanted = "text" if kinds == "U" else "whole numbers"
            raise ValueError(
                f"{self.source}: {name}: {array.dtype} of shape {array.shape}; expected a row of "
                f"{wanted}"
            )
        return array


def _examples(arrays: list[np.ndarray], part: str) -> Iterator[Example]:
    files, offsets, labels = arrays
    for number, label in enumerate(labels):
        encoded = files[offsets[number] : offsets[number + 1]].tobytes()
        yield Example(f"{part}_{number:06d}.jpg", encoded, int(label))

"""Tiny-ImageNet at 32x32 pixels: 200 classes, 100,000 training and 10,000 validation images.

The source is one .npz file: `train_jpeg` (JPEG files end to end, uint8), `train_offsets` (N+1
positions in it), `train_labels`, the same three for `val`, and `names` of the classes.
Tiny-ImageNet (http://cs231n.stanford.edu/tiny-imagenet-200.zip) is a subset of ImageNet:
non-commercial research and education only. There is no labelled test split.
"""

from collections.abc import Iterator

import numpy as np

from gtn_jax.data.builders.base import Example, ImageClassificationBuilder


class TinyImagenet(ImageClassificationBuilder):
    """Two hundred classes, JPEG, 32x32 RGB. Needs `source`, the .npz file, to prepare."""

    description = "Tiny-ImageNet, 200 classes of ImageNet, resized to 32x32 pixels."
    homepage = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

    def classes(self) -> list[str]:
        """Words of the 200 WordNet nouns; several nouns for one class are divided by commas."""
        with np.load(self._source_file()) as arrays:
            return [str(name).replace("\n", " ") for name in arrays["names"]]

    def examples(self) -> dict[str, Iterator[Example]]:
        """`train` and `validation`, in the file's order."""
        path = self._source_file()
        return {"train": _examples(path, "train"), "validation": _examples(path, "val")}

    def _source_file(self):
        if self.source is None or not self.source.is_file():
            raise ValueError(
                f"tiny_imagenet: {self.source} is not a file; give the .npz with "
                "`gtn prepare tiny_imagenet --source FILE.npz`"
            )
        return self.source


def _examples(path, part: str) -> Iterator[Example]:
    with np.load(path) as arrays:
        files = arrays[f"{part}_jpeg"]
        offsets, labels = arrays[f"{part}_offsets"], arrays[f"{part}_labels"]
    for number, label in enumerate(labels):
        encoded = files[offsets[number] : offsets[number + 1]].tobytes()
        yield Example(f"{part}_{number:06d}.jpg", encoded, int(label))

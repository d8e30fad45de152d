"""UCI handwritten digits: 1,797 real images of 8x8 pixels, included in scikit-learn.

https://archive.ics.uci.edu/dataset/80 (CC BY 4.0). There is no official split; a fixed, stratified
one has 500 test, 300 validation and 997 training images.
"""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from gtn_jax.data.builders.base import Example, ImageClassificationBuilder

SPLIT_SIZES = {"test": 500, "validation": 300, "train": 997}


def split_indices(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Disjoint, sorted image indices of every split, stratified by class.

    Images of a class are shuffled (seed 0), then image i of n of its class gets the position
    (i + 1/2) / n, and the splits divide the images in the order of their positions.
    """
    generator = np.random.default_rng(0)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.argsort(position, kind="stable")
    bounds = np.cumsum(list(SPLIT_SIZES.values()))[:-1]
    parts = np.split(order, bounds)
    return {split: np.sort(part) for split, part in zip(SPLIT_SIZES, parts, strict=True)}


class Digits(ImageClassificationBuilder):
    """10 classes, PNG, 8x8 gray stored as RGB."""

    keeps_files = True
    encoding = "png"
    description = "UCI handwritten digits as carried by scikit-learn, 1,797 images of 8x8 pixels."
    homepage = "https://archive.ics.uci.edu/dataset/80"

    def classes(self) -> list[str]:
        """ "0" to "9"."""
        return [str(digit) for digit in range(10)]

    def examples(self) -> dict[str, Iterator[Example]]:
        """Split -> examples named by their index in scikit-learn's order."""
        # A slow import that only preparation needs.
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        # Gray levels are 0 to 16; 16 becomes 255.
        pixels = np.clip(images.reshape(-1, 8, 8) * 16, 0, 255).astype(np.uint8)
        splits = split_indices(labels)
        return {s: (_example(pixels, labels, i) for i in rows) for s, rows in splits.items()}


def _example(pixels: np.ndarray, labels: np.ndarray, index: int) -> Example:
    encoded = io.BytesIO()
    Image.fromarray(pixels[index]).convert("RGB").save(encoded, "PNG")
    return Example(f"{index:04d}.png", encoded.getvalue(), int(labels[index]))

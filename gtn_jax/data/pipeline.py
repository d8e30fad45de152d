"""Splits -> batches of uint8 pixels on the host, in an order that can be stopped and resumed.

Grain (https://google-grain.readthedocs.io) shuffles, batches and keeps the position. Images are
decoded once into memory where they fit; otherwise each batch is decoded anew, in Grain's threads,
ahead of the step that wants it. Augmentation is augment.py's, on the device.
"""

import concurrent.futures
import dataclasses
from collections.abc import Iterator
from typing import Any

import grain
import numpy as np

from gtn_jax.arrays import Batch
from gtn_jax.data.decode import decode
from gtn_jax.data.sources import Split

MEMORY_LIMIT_BYTES = 2 * 2**30
_READ_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of one split (or a choice of them) at one size.

    Attributes:
        split: where they come from.
        image_size: side in pixels.
        positions: int64 B, the images used, as positions in the split.
        labels: int32 B, or None where the split is streamed.
        pixels: uint8 B H W 3, or None where the split is streamed.
    """

    split: Split
    image_size: int
    positions: np.ndarray
    labels: np.ndarray | None = None
    pixels: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.positions)

    def gather(self, rows: np.ndarray) -> Batch:
        """The images at these rows of `positions`, all with mask 1."""
        if self.pixels is not None and self.labels is not None:
            pixels, labels = self.pixels[rows], self.labels[rows]
        else:
            pixels, labels = _read(self.split, self.positions[rows], self.image_size)
        return Batch(pixels, labels, np.ones(len(rows), np.float32))


def load(
    split: Split, image_size: int, images_per_class: int | None = None, seed: int = 0
) -> Images:
    """Make a split ready to be batched.

    Args:
        split: from `sources.open_splits`.
        image_size: side in pixels.
        images_per_class: keep a seeded choice of this many of each class; None: all.
        seed: of that choice.

    Raises:
        ValueError: an unreadable image, named.
    """
    positions = np.arange(len(split))
    if images_per_class is not None:
        labels = _labels(split)
        positions = choose_per_class(labels, images_per_class, seed)
    if len(positions) * image_size**2 * 3 > MEMORY_LIMIT_BYTES:
        return Images(split, image_size, positions)
    chunks = np.split(positions, range(_READ_AT_ONCE, len(positions), _READ_AT_ONCE))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        parts = list(pool.map(lambda chunk: _read(split, chunk, image_size), chunks))
    pixels = np.concatenate([part[0] for part in parts])
    labels = np.concatenate([part[1] for part in parts])
    return Images(split, image_size, positions, labels, pixels)


def choose_per_class(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A seeded choice of `count` images of every class (all of a class that has fewer).

    Args:
        labels: int B.
        count: images a class.
        seed: the same seed, the same choice.

    Returns:
        int64, sorted positions in `labels`.
    """
    generator = np.random.default_rng([seed, 1])
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[:count]
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))


def fit_batch_size(batch_size: int, images: int, devices: int) -> int:
    """The batch size to train with: the largest, up to `batch_size`, that works.

    Args:
        batch_size: what was asked for; `devices` must divide it.
        images: number of training images; fewer than a batch shrink the batch.
        devices: number of devices that share a batch.

    Raises:
        ValueError: not divisible, or less than one image a device.
    """
    if batch_size % devices:
        lower = batch_size // devices * devices
        near = [str(size) for size in (lower, lower + devices) if size]
        raise ValueError(
            f"data.batch_size: {batch_size} images do not divide over {devices} devices; "
            f"nearest: {' or '.join(near)}"
        )
    if images < devices:
        raise ValueError(f"data.name: {images} training images for {devices} devices; bring more")
    return min(batch_size, images // devices * devices)


def steps_per_epoch(images: int, batch_size: int, last_batch: str) -> int:
    """Steps of one epoch; `last_batch` is "keep" or "drop"."""
    return -(-images // batch_size) if last_batch == "keep" else images // batch_size


def training_batches(
    images: Images, batch_size: int, last_batch: str, seed: int
) -> grain.DatasetIterator[Batch]:
    """Endless shuffled batches, every epoch in another order.

    The iterator's `get_state()` and `set_state()` are the data position: small, JSON, exact.

    Args:
        images: what to draw from; each is seen once an epoch (with "drop": at most once).
        batch_size: images a batch.
        last_batch: "drop" or "keep" an epoch's partial batch.
        seed: of the order.
    """
    dataset = (
        grain.MapDataset.range(len(images))
        .shuffle(seed=seed)
        .batch(batch_size, drop_remainder=last_batch == "drop", batch_fn=np.array)
        .map(images.gather)
        .repeat()
    )
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)))


def evaluation_batches(images: Images, batch_size: int) -> Iterator[Batch]:
    """Every image once, in order; the last batch is filled up with rows of mask 0."""
    for start in range(0, len(images), batch_size):
        batch = images.gather(np.arange(start, min(start + batch_size, len(images))))
        missing = batch_size - len(batch.labels)
        yield Batch(*(np.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for a in batch))


def _labels(split: Split) -> np.ndarray:
    labels = []
    for start in range(0, len(split), _READ_AT_ONCE):
        stop = min(start + _READ_AT_ONCE, len(split))
        labels += [example["label"] for example in split.read(range(start, stop))]
    return np.array(labels, np.int32)


def _read(split: Split, positions: Any, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    examples = split.read(positions)
    pixels = np.empty((len(examples), image_size, image_size, 3), np.uint8)
    for row, example in enumerate(examples):
        pixels[row] = decode(example["image"], image_size, example["file"].decode())
    return pixels, np.array([example["label"] for example in examples], np.int32)

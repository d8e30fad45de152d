"""Images -> batches of uint8 pixels on the host, in an order that can be resumed.

Grain (https://google-grain.readthedocs.io) shuffles, batches and keeps the position. Images that
are in no memory are decoded in Grain's threads, ahead of the step that wants them; where the
devices hold the images, a batch is only their rows (training/image_store.py chooses). Augmentation,
cropping included, is augment.py's, on the device.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np

from gtn_jax.arrays import Batch
from gtn_jax.data.clips import clip_rows, row_drawer
from gtn_jax.data.images import Images

Gather = Callable[[int, np.ndarray], Any]
"""(number of the step, int B rows of a part) -> that step's batch; called in Grain's threads."""


def fit_batch_size(batch_size: int, images: int, devices: int, micro_batches: int = 1) -> int:
    """The batch size to train with: the largest, up to `batch_size`, that works.

    Args:
        batch_size: what was asked for; `devices` must divide it.
        images: number of training images; fewer than a batch shrink the batch.
        devices: number of devices that share a batch.
        micro_batches: parts that a batch is taken in, each shared by the devices.

    Raises:
        ValueError: not divisible, or less than one image a device and micro-batch.
    """
    shares, where = devices * micro_batches, f"{devices} devices"
    if micro_batches > 1:
        where += f" and {micro_batches} micro-batches (training.accumulation_steps)"
    if batch_size % shares:
        lower = batch_size // shares * shares
        near = [str(size) for size in (lower, lower + shares) if size]
        raise ValueError(
            f"data.batch_size: {batch_size} images do not divide over {where}; "
            f"nearest: {' or '.join(near)}"
        )
    if images < shares:
        raise ValueError(f"data.name: {images} training images for {where}; bring more")
    return min(batch_size, images // shares * shares)


def steps_per_epoch(images: int, batch_size: int, last_batch: str) -> int:
    """Steps of one epoch; `last_batch` is "keep" or "drop"."""
    return -(-images // batch_size) if last_batch == "keep" else images // batch_size


def training_batches(
    images: Images,
    batch_size: int,
    last_batch: str,
    seed: int,
    gather: Gather | None = None,
    threads: int = 2,
) -> grain.DatasetIterator[Any]:
    """Endless shuffled batches, every epoch in another order.

    The iterator's `get_state()` and `set_state()` are the data position: small, JSON, exact.

    Args:
        images: what to draw from; each is seen once an epoch (with "drop": at most once), of a
            clip one image.
        batch_size: images a batch.
        last_batch: "drop" or "keep" an epoch's partial batch.
        seed: of the order.
        gather: makes a batch of its rows; None: `images.take`.
        threads: that make batches ahead; 0 makes each when it is asked for. The batches are the
            same. There are no processes.
    """
    dataset = _in_order(
        images, batch_size, last_batch, seed, gather or (lambda _, rows: images.take(rows))
    )
    return iter(dataset.to_iter_dataset(grain.ReadOptions(threads, 8 if threads else 0)))


def rows_of_step(
    images: Images, batch_size: int, last_batch: str, seed: int, step: int
) -> np.ndarray:
    """int B, the rows of the part that `training_batches` has in its batch `step`, from 0."""
    order = _in_order(images, batch_size, last_batch, seed, lambda _, rows: rows)
    return np.asarray(order[step])


def _in_order(
    images: Images, batch_size: int, last_batch: str, seed: int, gather: Callable[..., Any]
) -> grain.MapDataset[Any]:
    rows = grain.MapDataset.range(images.epoch_images)
    if images.clips is not None:
        # Right here, where Grain's index still tells the epoch.
        rows = rows.map_with_index(row_drawer(clip_rows(images.clips), seed))
    return (
        rows.shuffle(seed=seed)
        .batch(batch_size, drop_remainder=last_batch == "drop", batch_fn=np.array)
        .map_with_index(gather)
        .repeat()
    )


def evaluation_batches(images: Images, batch_size: int) -> Iterator[Batch]:
    """Every image once, in order; the last batch is filled up with rows of mask 0."""
    for start in range(0, len(images), batch_size):
        batch = images.gather(np.arange(start, min(start + batch_size, len(images))))
        yield jax.tree.map(functools.partial(_fill_up, rows=batch_size), batch)


def _fill_up(array: np.ndarray, rows: int) -> np.ndarray:
    return np.pad(array, [(0, rows - len(array))] + [(0, 0)] * (array.ndim - 1))

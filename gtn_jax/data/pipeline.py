"""Batches of uint8 images on the host, in a resumable order.

Grain (https://google-grain.readthedocs.io) shuffles, batches and stores the position. Images that
are not in memory are decoded ahead of time in Grain's threads; if the devices hold the images, a
batch is only their rows (training/image_store.py). Augmentation runs on the device (augment.py).
"""

from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np

from gtn_jax.arrays import Batch
from gtn_jax.data.clips import clip_rows, row_drawer
from gtn_jax.data.images import Images

Gather = Callable[[int, np.ndarray], Any]  # (step, int B rows) -> batch, in Grain's threads


def fit_batch_size(batch_size: int, images: int, devices: int, micro_batches: int = 1) -> int:
    """The largest valid batch size up to `batch_size`, which a small training set reduces.

    `images` is the size of the training set. A batch is divided over `devices`, after a division
    into `micro_batches`.

    Raises:
        ValueError: not divisible, or less than one image per device and micro-batch.
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
    """Steps per epoch; `last_batch` is "keep" or "drop"."""
    return -(-images // batch_size) if last_batch == "keep" else images // batch_size


def training_batches(
    images: Images,
    batch_size: int,
    last_batch: str,
    seed: int,
    gather: Gather | None = None,
    threads: int = 2,
) -> grain.DatasetIterator[Any]:
    """Endless shuffled batches, each epoch in another order.

    `get_state()` and `set_state()` of the iterator are the data position: small, JSON, exact.

    Args:
        images: each is used once per epoch (with "drop": at most once); of a clip, one image.
        batch_size: images per batch.
        last_batch: "drop" or "keep" the partial batch of an epoch.
        seed: of the order.
        gather: converts rows to a batch; default `images.take`.
        threads: number of threads that prepare batches ahead; 0 prepares on request. The batches
            do not depend on it.
    """
    dataset = _in_order(
        images, batch_size, last_batch, seed, gather or (lambda _, rows: images.take(rows))
    )
    return iter(dataset.to_iter_dataset(grain.ReadOptions(threads, 8 if threads else 0)))


def rows_of_step(
    images: Images, batch_size: int, last_batch: str, seed: int, step: int
) -> np.ndarray:
    """int B, the rows of batch `step` (from 0) of `training_batches`."""
    order = _in_order(images, batch_size, last_batch, seed, lambda _, rows: rows)
    return np.asarray(order[step])


def _in_order(
    images: Images, batch_size: int, last_batch: str, seed: int, gather: Callable[..., Any]
) -> grain.MapDataset[Any]:
    rows = grain.MapDataset.range(images.epoch_images)
    if images.clips is not None:
        # Before shuffling, as Grain's index still determines the epoch here.
        rows = rows.map_with_index(row_drawer(clip_rows(images.clips), seed))
    return (
        rows.shuffle(seed=seed)
        .batch(batch_size, drop_remainder=last_batch == "drop", batch_fn=np.array)
        .map_with_index(gather)
        .repeat()
    )


def evaluation_batches(images: Images, batch_size: int) -> Iterator[Batch]:
    """Every image once, in order; the last batch is padded with rows of mask 0."""
    for start in range(0, len(images), batch_size):
        batch = images.gather(np.arange(start, min(start + batch_size, len(images))))
        missing = batch_size - len(batch.labels)
        yield jax.tree.map(
            lambda x, n=missing: np.pad(x, [(0, n)] + [(0, 0)] * (x.ndim - 1)), batch
        )

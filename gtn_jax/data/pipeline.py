"""Parts of splits -> batches of uint8 pixels on the host, in an order that can be resumed.

Grain (https://google-grain.readthedocs.io) shuffles, batches and keeps the position. Images are
decoded once into memory where they fit; otherwise each batch is decoded anew, in Grain's threads,
ahead of the step that wants it. Augmentation, cropping included, is augment.py's, on the device.
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np

from gtn_jax.arrays import Batch, PooledBatch
from gtn_jax.config import DataConfig
from gtn_jax.data.choice import Part
from gtn_jax.data.clips import clip_ids, clip_rows, row_drawer
from gtn_jax.data.decode import decode, decode_whole, whole_size
from gtn_jax.data.splits import Split

MEMORY_LIMIT_BYTES = 2 * 2**30
_READ_AT_ONCE = 256

Gather = Callable[[int, np.ndarray], Batch | PooledBatch]
"""(number of the step, int B rows of a part) -> that step's batch; called in Grain's threads."""


@dataclasses.dataclass(frozen=True)
class View:
    """What of each image goes into a batch.

    Attributes:
        image_size: side of the centre square in pixels, unless `whole`.
        short_side: of the resized image, in pixels.
        whole: the resized image, for random crops, instead of the centre square.
    """

    image_size: int
    short_side: int
    whole: bool = False

    @classmethod
    def of(cls, data: DataConfig, training: bool) -> "View":
        """What a config trains on, or evaluates on."""
        whole = training and data.random_resized_crop
        return cls(data.image_size, data.resize_size or data.image_size, whole)

    def decode(self, encoded: bytes, file: str) -> np.ndarray:
        """uint8 H W 3."""
        if self.whole:
            return decode_whole(encoded, self.short_side, file)
        return decode(encoded, self.image_size, file, self.short_side)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what `decode` makes of an image of this height and width."""
        if self.whole:
            return whole_size(height, width, self.short_side)
        return self.image_size, self.image_size


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of one split (or a choice of them) in one view.

    Attributes:
        part: where they come from.
        view: what of each is used.
        height: of a batch's arrays in pixels, that of the highest image.
        width: of a batch's arrays in pixels, that of the widest image.
        pixels: uint8 H W 3 each, or None where the split is streamed.
        clips: int32 B, the clip of each image, of videos only.
    """

    part: Part
    view: View
    height: int
    width: int
    pixels: list[np.ndarray] | None = None
    clips: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.part.positions)

    @property
    def epoch_images(self) -> int:
        """Images that an epoch shows: each one, or one of each clip."""
        return len(self) if self.clips is None else int(self.clips.max()) + 1

    def gather(self, rows: np.ndarray) -> Batch:
        """The images at these rows of the part's positions, all with mask 1."""
        if self.pixels is not None:
            pixels = [self.pixels[row] for row in rows]
        else:
            pixels = _decode(self.part.split, self.part.positions[rows], self.view)
        labels, mask = self.part.labels[rows], np.ones(len(rows), np.float32)
        if not self.view.whole:
            return Batch(np.stack(pixels), labels, mask)
        padded = np.zeros((len(rows), self.height, self.width, 3), np.uint8)
        for row, image in enumerate(pixels):
            padded[row, : image.shape[0], : image.shape[1]] = image
        sizes = np.array([image.shape[:2] for image in pixels], np.int32)
        return Batch(padded, labels, mask, sizes)


def load(part: Part, view: View) -> Images:
    """Make a part ready to be batched.

    Raises:
        ValueError: an unreadable image, named.
    """
    sizes = np.array([view.size(height, width) for height, width in part.sizes.tolist()])
    height, width = sizes.max(axis=0).tolist()
    fits = 3 * int(sizes.prod(axis=1).sum()) <= MEMORY_LIMIT_BYTES
    pixels = _decode_all(part, view) if fits else None
    clips = clip_ids(part.files) if part.split.clips else None
    return Images(part, view, height, width, pixels, clips)


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
    images: Images,
    batch_size: int,
    last_batch: str,
    seed: int,
    gather: Gather | None = None,
    threads: int = 2,
) -> grain.DatasetIterator[Batch | PooledBatch]:
    """Endless shuffled batches, every epoch in another order.

    The iterator's `get_state()` and `set_state()` are the data position: small, JSON, exact.

    Args:
        images: what to draw from; each is seen once an epoch (with "drop": at most once), of a
            clip one image.
        batch_size: images a batch.
        last_batch: "drop" or "keep" an epoch's partial batch.
        seed: of the order.
        gather: makes a batch of its rows; None takes their images.
        threads: that make batches ahead; 0 makes each when it is asked for. The batches are the
            same. There are no processes.
    """
    dataset = _in_order(
        images, batch_size, last_batch, seed, gather or (lambda _, rows: images.gather(rows))
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


def _decode_all(part: Part, view: View) -> list[np.ndarray]:
    """Every image of a part, in order, by threads (Pillow lets others run)."""
    starts = range(_READ_AT_ONCE, len(part.positions), _READ_AT_ONCE)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        chunks = np.split(part.positions, starts)
        results = pool.map(lambda chunk: _decode(part.split, chunk, view), chunks)
        return [image for chunk in results for image in chunk]


def _decode(split: Split, positions: np.ndarray, view: View) -> list[np.ndarray]:
    examples = split.read(positions.tolist())
    return [view.decode(example["image"], example["file"].decode()) for example in examples]

"""Images of one part in one view: decoded when they are asked for, or kept in the host's memory.

What a batch of them holds is here; in which order they come is pipeline.py's. No jit here.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from gtn_jax.arrays import Batch
from gtn_jax.config import DataConfig
from gtn_jax.data.clips import clip_ids
from gtn_jax.data.decode import decode, decode_whole, whole_size
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import Subset
from gtn_jax.data.threads import ordered_map

MEMORY_LIMIT_BYTES = 2 * 2**30
"""Of the host's, for the decoded images of one part."""
_READ_AT_ONCE = 32
_MOST_ROOM_FOR_OTHERS = 1.5


@dataclasses.dataclass(frozen=True)
class View:
    """What of each image goes into a batch.

    Attributes:
        image_size: side of the central square in pixels, unless `whole`.
        short_side: of the resized image, in pixels.
        whole: the resized image, for random crops, instead of the center square.
    """

    image_size: int
    short_side: int
    whole: bool = False

    @classmethod
    def of(cls, data: DataConfig, training: bool) -> "View":
        """What a config trains on, or evaluates on."""
        whole = training and data.random_resized_crop
        side = data.image_size if training else data.evaluation_size
        return cls(side, data.resize_size or data.image_size, whole)

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
        height: of a batch's arrays in pixels, that of the highest image; of the whole split, unless
            that takes much more room.
        width: of a batch's arrays in pixels, likewise of the widest image.
        bytes: of all images decoded, each of its own size.
        clips: int32 B, the clip of each image, of videos only.
        place: where they are and why, in words.
    """

    part: Subset
    view: View
    height: int
    width: int
    bytes: int
    clips: np.ndarray | None = None
    place: str = ""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.part.positions)

    @property
    def epoch_images(self) -> int:
        """Images that an epoch shows: each one, or one of each clip."""
        return len(self) if self.clips is None else int(self.clips.max()) + 1

    @property
    def padded_bytes(self) -> int:
        """Of all images in one array."""
        return 3 * len(self) * self.height * self.width

    def decoded(self, rows: np.ndarray) -> list[np.ndarray]:
        """uint8 H W 3 each, of these rows of the part's positions."""
        return _decode(self.part.split, self.part.positions[rows], self.view)

    def gather(self, rows: np.ndarray) -> Batch:
        """The images at these rows of the part's positions, all with mask 1."""
        padded, sizes = self.pad(self.decoded(rows))
        return Batch(padded, self.part.labels[rows], np.ones(len(rows), np.float32), sizes)

    def take(self, rows: np.ndarray) -> Any:
        """The batch of a training step; subclasses keep images elsewhere (image_store.py)."""
        return self.gather(rows)

    def pad(self, pixels: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 H W 3 each -> images and sizes of a `Batch`."""
        if not self.view.whole:
            return np.stack(pixels), None
        padded = np.zeros((len(pixels), self.height, self.width, 3), np.uint8)
        for row, image in enumerate(pixels):
            padded[row, : image.shape[0], : image.shape[1]] = image
        return padded, np.array([image.shape[:2] for image in pixels], np.int32)


@dataclasses.dataclass(frozen=True)
class ImagesInMemory(Images):
    """All of them decoded.

    Attributes:
        pixels: uint8 H W 3 each.
    """

    pixels: list[np.ndarray] = dataclasses.field(default_factory=list)

    def decoded(self, rows: np.ndarray) -> list[np.ndarray]:
        """See `Images.decoded`."""
        return [self.pixels[row] for row in rows]


def fields_of(images: Images) -> dict[str, Any]:
    """The fields that all kinds of images have, to make one kind of another."""
    return {field.name: getattr(images, field.name) for field in dataclasses.fields(Images)}


def open_images(part: Subset, view: View) -> Images:
    """Make a part ready to be batched, nothing of it decoded yet."""
    sizes = np.array([view.size(height, width) for height, width in part.sizes.tolist()])
    height, width = sizes.max(axis=0).tolist()
    if part.split_sizes is not None:
        # Of the whole split, so that seeds that choose other images share programs; but not for the
        # sake of a panorama that none of these is.
        every = [view.size(*size) for size in part.split_sizes.tolist()]
        highest, widest = np.max(every, axis=0).tolist()
        if highest * widest <= _MOST_ROOM_FOR_OTHERS * height * width:
            height, width = highest, widest
    clips = clip_ids(part.files) if part.split.clips else None
    return Images(part, view, height, width, 3 * int(sizes.prod(axis=1).sum()), clips)


def keep_in_memory(images: Images) -> ImagesInMemory:
    """Decode all of them once.

    Raises:
        ValueError: an unreadable image, named.
    """
    pixels = [image for chunk in decoded_chunks(images) for image in chunk]
    return ImagesInMemory(**fields_of(images), pixels=pixels)


def load(part: Subset, view: View) -> Images:
    """Make a part ready to be batched, in the host's memory if it fits there.

    Raises:
        ValueError: as `keep_in_memory`.
    """
    images = open_images(part, view)
    return keep_in_memory(images) if images.bytes <= MEMORY_LIMIT_BYTES else images


def decoded_chunks(images: Images) -> Iterator[list[np.ndarray]]:
    """Every image, decoded, in order."""
    starts = range(_READ_AT_ONCE, len(images), _READ_AT_ONCE)
    chunks = np.split(images.part.positions, starts)
    return ordered_map(lambda chunk: _decode(images.part.split, chunk, images.view), chunks, 1)


def _decode(split: Split, positions: np.ndarray, view: View) -> list[np.ndarray]:
    examples = split.read(positions.tolist())
    return [view.decode(example["image"], example["file"].decode()) for example in examples]

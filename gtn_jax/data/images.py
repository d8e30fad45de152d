"""Images of a subset, decoded on access or held in host memory, and batches of them."""

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

MEMORY_LIMIT_BYTES = 2 * 2**30  # of host memory, for the decoded images of one subset
_READ_AT_ONCE = 32
_MOST_ROOM_FOR_OTHERS = 1.5


@dataclasses.dataclass(frozen=True)
class View:
    """The part of each image that goes into a batch."""

    image_size: int  # side of the central square in pixels, unless `whole`
    short_side: int  # of the resized image in pixels
    whole: bool = False  # the resized image, for random crops, instead of the central square

    @classmethod
    def of(cls, data: DataConfig, training: bool) -> "View":
        """The view for training or evaluation."""
        whole = training and data.random_resized_crop
        side = data.image_size if training else data.evaluation_size
        return cls(side, data.resize_size or data.image_size, whole)

    def decode(self, encoded: bytes, file: str) -> np.ndarray:
        """Decode to uint8 H W 3."""
        if self.whole:
            return decode_whole(encoded, self.short_side, file)
        return decode(encoded, self.image_size, file, self.short_side)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result of `decode`."""
        if self.whole:
            return whole_size(height, width, self.short_side)
        return self.image_size, self.image_size


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of a subset in one view."""

    part: Subset
    view: View
    height: int  # of a batch in pixels: the maximum over the images, or over the whole split
    width: int
    bytes: int  # of all decoded images, without padding
    clips: np.ndarray | None = None  # int32 B, the clip of each image; only for videos
    place: str = ""  # where they are stored and why, as text

    def __len__(self) -> int:
        """Number of images."""
        return len(self.part.positions)

    @property
    def epoch_images(self) -> int:
        """Images per epoch: all of them, or one of each clip."""
        return len(self) if self.clips is None else int(self.clips.max()) + 1

    @property
    def padded_bytes(self) -> int:
        """Size of all images in one array."""
        return 3 * len(self) * self.height * self.width

    def decoded(self, rows: np.ndarray) -> list[np.ndarray]:
        """uint8 H W 3 of each image at these rows of the subset."""
        return _decode(self.part.split, self.part.positions[rows], self.view)

    def gather(self, rows: np.ndarray) -> Batch:
        """The batch of these rows of the subset, with mask 1."""
        padded, sizes = self.pad(self.decoded(rows))
        return Batch(padded, self.part.labels[rows], np.ones(len(rows), np.float32), sizes)

    def take(self, rows: np.ndarray) -> Any:
        """The batch of a training step; overridden where images are stored elsewhere."""
        return self.gather(rows)

    def pad(self, pixels: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """Pad uint8 H W 3 images to `images` and `sizes` of a `Batch`."""
        if not self.view.whole:
            return np.stack(pixels), None
        padded = np.zeros((len(pixels), self.height, self.width, 3), np.uint8)
        for row, image in enumerate(pixels):
            padded[row, : image.shape[0], : image.shape[1]] = image
        return padded, np.array([image.shape[:2] for image in pixels], np.int32)


@dataclasses.dataclass(frozen=True)
class ImagesInMemory(Images):
    """Images decoded once and held in host memory."""

    pixels: list[np.ndarray] = dataclasses.field(default_factory=list)  # uint8 H W 3 each

    def decoded(self, rows: np.ndarray) -> list[np.ndarray]:
        """See `Images.decoded`."""
        return [self.pixels[row] for row in rows]


def fields_of(images: Images) -> dict[str, Any]:
    """The fields of the base class, to construct another subclass."""
    return {field.name: getattr(images, field.name) for field in dataclasses.fields(Images)}


def open_images(part: Subset, view: View) -> Images:
    """Images of a subset, decoded on access."""
    sizes = np.array([view.size(height, width) for height, width in part.sizes.tolist()])
    height, width = sizes.max(axis=0).tolist()
    if part.split_sizes is not None:
        # The maximum over the whole split lets seeds that choose other images share programs,
        # unless one panorama that is not among these images would inflate all of them.
        every = [view.size(*size) for size in part.split_sizes.tolist()]
        highest, widest = np.max(every, axis=0).tolist()
        if highest * widest <= _MOST_ROOM_FOR_OTHERS * height * width:
            height, width = highest, widest
    clips = clip_ids(part.files) if part.split.clips else None
    return Images(part, view, height, width, 3 * int(sizes.prod(axis=1).sum()), clips)


def keep_in_memory(images: Images) -> ImagesInMemory:
    """Decode all images; ValueError names an unreadable one."""
    pixels = [image for chunk in decoded_chunks(images) for image in chunk]
    return ImagesInMemory(**fields_of(images), pixels=pixels)


def load(part: Subset, view: View) -> Images:
    """Images of a subset, in memory if they fit `MEMORY_LIMIT_BYTES`; errors as in
    `keep_in_memory`."""
    images = open_images(part, view)
    return keep_in_memory(images) if images.bytes <= MEMORY_LIMIT_BYTES else images


def decoded_chunks(images: Images) -> Iterator[list[np.ndarray]]:
    """Decode all images in order, in chunks."""
    starts = range(_READ_AT_ONCE, len(images), _READ_AT_ONCE)
    chunks = np.split(images.part.positions, starts)
    return ordered_map(lambda chunk: _decode(images.part.split, chunk, images.view), chunks, 1)


def _decode(split: Split, positions: np.ndarray, view: View) -> list[np.ndarray]:
    examples = split.read(positions.tolist())
    return [view.decode(example["image"], example["file"].decode()) for example in examples]

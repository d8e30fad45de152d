"""Workloads of the input pipeline alone, on JPEG files that are made up in a temporary folder.

The data pipeline (data/images.py, data/pipeline.py, training/image_store.py) is called in `_part`,
`training_images` and `shuffled` only, as training/loop.py calls it. Where it changes, these follow.
"""

import atexit
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from PIL import Image

from gtn_jax.arrays import Batch
from gtn_jax.benchmark.spec import Spec, data_of
from gtn_jax.benchmark.workload import Workload, memory_in_use
from gtn_jax.data import pipeline
from gtn_jax.data.images import Images, View, open_images
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import Part, whole
from gtn_jax.devices import data_mesh, put_batch
from gtn_jax.training.image_store import RowBatch, place_images

JPEG_SIZE = (341, 256)
"""Width and height of a photo whose short side is training's."""
_DISTINCT = 64


class JpegFolder:
    """A source of `images` examples, read from JPEG files on disk as a data source reads records.

    Files repeat: `_DISTINCT` of them stand for any number, and all are in the disk cache.
    """

    def __init__(self, images: int, size: tuple[int, int], classes: int):
        """Write the files, half of them on their side; they go when the process ends."""
        self._folder = tempfile.TemporaryDirectory(prefix="gtn-benchmark-")
        atexit.register(self._folder.cleanup)
        self._images, self._classes = images, classes
        generator = np.random.default_rng(0)
        self._files = []
        for number in range(min(images, _DISTINCT)):
            path = Path(self._folder.name) / f"{number}.jpg"
            photo(generator, (size[1], size[0]) if number % 2 else size).save(path, quality=90)
            self._files.append(path)

    def __len__(self) -> int:
        """Number of examples."""
        return self._images

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        """Examples at these positions, encoded."""
        examples = []
        for position in positions:
            path = self._files[position % len(self._files)]
            label = position % self._classes
            examples.append(
                {"image": path.read_bytes(), "label": label, "file": path.name.encode()}
            )
        return examples


def photo(generator: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Noise at several scales, which costs a decoder about as much as a photo does."""
    pixels = np.zeros((size[1], size[0], 3))
    for cells in (4, 16, 64):
        coarse = Image.fromarray(generator.integers(0, 256, (cells, cells, 3)).astype(np.uint8))
        pixels += np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)) / 3
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _part(spec: Spec, size: tuple[int, int] = JPEG_SIZE) -> Part:
    names = tuple(f"class {number}" for number in range(spec.classes))
    files = JpegFolder(spec.images, size, spec.classes)
    # Seconds of reading headers are a prepared data set's index in real life, so not timed here.
    return whole(Split(files, names, "train"))


def training_images(spec: Spec, part: Part, mesh: jax.sharding.Mesh, store: str = "auto") -> Images:
    """A part where training keeps it, or in a store of `data.image_store`."""
    images = open_images(part, View.of(data_of(spec), training=True))
    return place_images(images, store, mesh)


def jpeg_images(spec: Spec, mesh: jax.sharding.Mesh, store: str = "auto") -> Images:
    """As `training_images`, of generated JPEG files."""
    return training_images(spec, _part(spec), mesh, store)


def shuffled(images: Images, spec: Spec) -> Iterator[Batch | RowBatch]:
    """Endless training batches, on the host."""
    batches = pipeline.training_batches(images, spec.batch_size, "drop", seed=0)
    # Of features only where a gather of them is given.
    return cast(Iterator[Batch | RowBatch], batches)


def _drain(spec: Spec, store: str) -> Workload:
    images = jpeg_images(spec, data_mesh(1), store)
    batches = shuffled(images, spec)

    def repeat(iterations: int) -> None:
        for _ in itertools.islice(batches, iterations):
            pass

    return Workload(repeat, spec.batch_size, facts={"images_are": images.place})


def input_decode(spec: Spec) -> Workload:
    """Reading and decoding a whole split, once, into memory."""
    part, mesh = _part(spec), data_mesh(1)

    def repeat(iterations: int) -> None:
        for _ in range(iterations):
            training_images(spec, part, mesh, "host")

    return Workload(repeat, spec.images)


def input_resident(spec: Spec) -> Workload:
    """Shuffled batches out of the device's memory, into an array of their own there.

    A step does not make that array, so this is no more than what input can cost it.
    """
    mesh = data_mesh(1)
    images = jpeg_images(spec, mesh, "device")
    batches = shuffled(images, spec)
    take = jax.jit(RowBatch.gather)

    def repeat(iterations: int) -> None:
        taken = None
        for batch in itertools.islice(batches, iterations):
            taken = take(put_batch(batch, mesh))
        jax.block_until_ready(taken)

    return Workload(repeat, spec.batch_size, facts={"images_are": images.place})


def input_host(spec: Spec) -> Workload:
    """Shuffled batches out of the host's memory, left there."""
    return _drain(spec, "host")


def input_streamed(spec: Spec) -> Workload:
    """Shuffled batches, every image decoded anew, as where a split does not fit into memory."""
    return _drain(spec, "stream")


def dataset_start(spec: Spec) -> Workload:
    """From an open split to the first batch, and the memory that takes; small images, growing sets.

    Reported as rows: it happens once a process.
    """
    part, mesh = _part(spec, (spec.image_size, spec.image_size)), data_mesh(1)
    before = memory_in_use()["peak_rss_bytes"]
    start = time.perf_counter()
    images = training_images(spec, part, mesh)
    next(shuffled(images, spec))
    seconds = time.perf_counter() - start
    grown = memory_in_use()["peak_rss_bytes"] - before
    name = f"dataset_start/{spec.images}images/{spec.image_size}px"
    common = {"framework": spec.label, "repeats": 1, "images": spec.images}
    return Workload(
        None,
        rows=(
            {"name": name, "value": seconds, "unit": "seconds", **common},
            {"name": f"{name}/memory", "value": grown, "unit": "bytes", **common},
        ),
    )

"""Workloads of the input pipeline alone, on JPEG files that are made up in a temporary folder.

The data pipeline (gtn_jax/data/pipeline.py) is called in `_part`, `_load`, `jpeg_batches` and
`input_streamed` only, as training/loop.py calls it. Where it changes, these follow.
"""

import atexit
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from gtn_jax.arrays import Batch
from gtn_jax.benchmark.spec import Spec, data_of
from gtn_jax.benchmark.workload import Workload, memory_in_use
from gtn_jax.data import pipeline
from gtn_jax.data.choice import Part, whole
from gtn_jax.data.splits import Split

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


def _load(spec: Spec, part: Part) -> pipeline.Images:
    return pipeline.load(part, pipeline.View.of(data_of(spec), training=True))


def jpeg_batches(spec: Spec) -> Iterator[Batch]:
    """Endless shuffled training batches of generated JPEG files, on the host."""
    images = _load(spec, _part(spec))
    batches = pipeline.training_batches(images, spec.batch_size, "drop", seed=0)
    return cast(Iterator[Batch], batches)  # of features only where a gather of them is given


def _drain(batches: Iterator[Batch], spec: Spec, facts: dict[str, Any]) -> Workload:
    def repeat(iterations: int) -> None:
        for _ in itertools.islice(batches, iterations):
            pass

    return Workload(repeat, spec.batch_size, facts=facts)


def input_decode(spec: Spec) -> Workload:
    """Reading and decoding a whole split, once, into memory."""
    part = _part(spec)

    def repeat(iterations: int) -> None:
        for _ in range(iterations):
            _load(spec, part)

    return Workload(repeat, spec.images)


def input_resident(spec: Spec) -> Workload:
    """Shuffled batches out of memory."""
    return _drain(jpeg_batches(spec), spec, {})


def input_streamed(spec: Spec) -> Workload:
    """Shuffled batches, every image decoded anew, as where a split does not fit into memory."""
    pipeline.MEMORY_LIMIT_BYTES = 0  # of this child only
    return _drain(jpeg_batches(spec), spec, {})


def dataset_start(spec: Spec) -> Workload:
    """From an open split to the first batch, and the memory that takes; small images, growing sets.

    Reported as rows: it happens once a process.
    """
    part = _part(spec, (spec.image_size, spec.image_size))
    before = memory_in_use()["peak_rss_bytes"]
    start = time.perf_counter()
    images = _load(spec, part)
    next(iter(pipeline.training_batches(images, spec.batch_size, "drop", seed=0)))
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

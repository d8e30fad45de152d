"""Workloads that decode JPEG images: training from them, and input alone."""

import io
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from PIL import Image

from gtn_jax.benchmark.ours import config_of, prepare_run
from gtn_jax.benchmark.spec import Spec
from gtn_jax.benchmark.workload import Workload, training
from gtn_jax.data import pipeline
from gtn_jax.data.images import Images, View, open_images
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import Subset, whole
from gtn_jax.devices import data_mesh, put_batch
from gtn_jax.training.image_store import place_images

_DISTINCT = 64


class Examples(list[dict[str, Any]]):
    """A data source in memory."""

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        """Examples at these positions."""
        return [self[position] for position in positions]


def _photograph(generator: np.random.Generator, upright: bool) -> bytes:
    """Noise at several scales, which takes about as long to decode as a photograph."""
    size = (256, 341) if upright else (341, 256)
    pixels = np.zeros((size[1], size[0], 3))
    for cells in (4, 16, 64):
        coarse = Image.fromarray(generator.integers(0, 256, (cells, cells, 3)).astype(np.uint8))
        pixels += np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)) / 3
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _part(spec: Spec) -> Subset:
    """Generated JPEG files, half of them portrait; `_DISTINCT` files are repeated."""
    generator = np.random.default_rng(0)
    files = [_photograph(generator, upright=number % 2 == 1) for number in range(_DISTINCT)]
    examples = Examples(
        {"image": files[n % _DISTINCT], "label": n % spec.classes, "file": f"{n}.jpg".encode()}
        for n in range(spec.images)
    )
    names = tuple(f"class {number}" for number in range(spec.classes))
    # Headers are read here, untimed, as prepared data sets have an index of them.
    return whole(Split(examples, names, "train"))


def _images(spec: Spec, part: Subset, mesh: jax.sharding.Mesh, store: str) -> Images:
    """The training images in `store`, a value of `data.image_store`."""
    images = open_images(part, View.of(config_of(spec).data, training=True))
    return place_images(images, store, mesh)


def _shuffled(images: Images, spec: Spec) -> Iterator[Any]:
    return pipeline.training_batches(images, spec.batch_size, "drop", seed=0)


def _end_to_end(spec: Spec) -> Workload:
    """Training steps on images from the training pipeline.

    Variants "host" and "stream" override `data.image_store`.
    """
    programs, state, mesh = prepare_run(spec)
    images = _images(spec, _part(spec), mesh, spec.variant or "auto")
    batches = ((put_batch(batch, mesh),) for batch in _shuffled(images, spec))
    workload = training(programs.train_step(False, False), state, batches, spec.batch_size)
    return workload._replace(facts=workload.facts | {"images_are": images.place})


def build(spec: Spec) -> Workload:
    """Training from JPEG images ("end_to_end"), or their input alone.

    "input_decode" decodes every image once, into memory. The others make shuffled batches on the
    host: "input_host" from memory, "input_streamed" by decoding each image each time.
    """
    if spec.kind == "end_to_end":
        return _end_to_end(spec)
    part, mesh = _part(spec), data_mesh(1)
    if spec.kind == "input_decode":
        return Workload(lambda: _images(spec, part, mesh, "host"), spec.images)
    images = _images(spec, part, mesh, "host" if spec.kind == "input_host" else "stream")
    batches = _shuffled(images, spec)
    facts = {"images_are": images.place}
    return Workload(lambda: next(batches), spec.batch_size, facts=facts)

"""Training images that live on the devices: a step is told rows, and gathers them itself.

Every device of the mesh holds all images, so each gathers the rows of its own share of a batch and
nothing crosses between devices. What the step does with them is what it does with a batch from the
host. Whether a set should live there is image_store.py's to say.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gtn_jax.arrays import Batch, ResidentImages, RowBatch
from gtn_jax.data.images import Images, decoded_chunks
from gtn_jax.data.pipeline import evaluation_batches
from gtn_jax.devices import batch_sharding, put_batch, replicate
from gtn_jax.training.state import TrainState
from gtn_jax.training.steps import Metrics, TrainStep

ResidentStep = Callable[[TrainState, ResidentImages, RowBatch], tuple[TrainState, Metrics]]


def make_resident(images: Images, mesh: Mesh) -> Images:
    """Decode every image once, straight to all devices: the host never holds more than some.

    Raises:
        ValueError: an unreadable image, named.
    """
    shape = (len(images), images.height, images.width, 3)
    everywhere = NamedSharding(mesh, PartitionSpec())
    pixels = jax.jit(lambda: jnp.zeros(shape, jnp.uint8), out_shardings=everywhere)()
    write = jax.jit(_write, donate_argnums=0)
    sizes, start = [], 0
    for chunk in decoded_chunks(images):
        padded, chunk_sizes = images.pad(chunk)
        pixels = write(pixels, *replicate((padded, np.int32(start)), mesh))
        sizes.append(chunk_sizes)
        start += len(chunk)
    known: Any = replicate(np.concatenate(sizes), mesh) if images.view.whole else None
    return dataclasses.replace(images, resident=ResidentImages(pixels, known))


def _write(pixels: jax.Array, chunk: jax.Array, start: jax.Array) -> jax.Array:
    return lax.dynamic_update_slice_in_dim(pixels, chunk, start, axis=0)


def take_images(images: ResidentImages, batch: RowBatch, mesh: Mesh) -> Batch:
    """The images of a batch, split over the devices as `put_batch` splits one; inside jit."""
    sharding = batch_sharding(len(batch.labels), mesh)

    def take(array: jax.Array) -> jax.Array:
        # Rows are ours and in bounds; the default would look for those that are not.
        taken = array.at[batch.rows].get(mode="clip")
        return lax.with_sharding_constraint(taken, sharding)

    pixels, sizes = jax.tree.map(take, images)
    return Batch(pixels, batch.labels, batch.mask, sizes)


def make_resident_step(step: TrainStep, mesh: Mesh) -> ResidentStep:
    """Build `resident_step(state, images, batch) -> (state, metrics)`, pure, to be jitted.

    Args:
        step: from `make_train_step`; on the same images it gives the same state and metrics.
        mesh: that the arguments are on.
    """

    def resident_step(
        state: TrainState, images: ResidentImages, batch: RowBatch
    ) -> tuple[TrainState, Metrics]:
        return step(state, take_images(images, batch, mesh))

    return resident_step


def ordered_batches(images: Images, batch_size: int, mesh: Mesh) -> Iterator[Batch]:
    """`pipeline.evaluation_batches` on the mesh, wherever the images are.

    Rows that only fill the last batch hold any image.
    """
    if images.resident is None:
        for batch in evaluation_batches(images, batch_size):
            yield put_batch(batch, mesh)
        return
    take = jax.jit(functools.partial(take_images, mesh=mesh))
    for start in range(0, len(images), batch_size):
        rows = np.arange(start, start + batch_size, dtype=np.int32)
        mask = (rows < len(images)).astype(np.float32)
        rows = np.minimum(rows, len(images) - 1, dtype=np.int32)
        batch = RowBatch(rows, images.part.labels[rows], mask)
        yield take(images.resident, put_batch(batch, mesh))

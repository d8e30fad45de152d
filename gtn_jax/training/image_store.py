"""Where the training images of a run are kept: on the devices, in the host's memory, or nowhere.

The first that fits wins: on the devices a step gathers its own batch; the host's memory needs less
room, as nothing is padded there, but a batch crosses to the devices every step; streaming decodes
it anew. A CPU's devices share the host's memory, and each keeps its own copy. The numbers are the
same in all three, so a resumed run may choose otherwise than it did when it began.
"""

import dataclasses
import functools
import os
from collections.abc import Iterator
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from gtn_jax.arrays import Array, Batch
from gtn_jax.data import images as data_images
from gtn_jax.data.images import Images, decoded_chunks, fields_of
from gtn_jax.data.pipeline import evaluation_batches
from gtn_jax.devices import batch_sharding, own_rows, put_batch, replicate
from gtn_jax.runtime.distributed import broadcast_from_primary
from gtn_jax.training.state import TrainState
from gtn_jax.training.steps import Metrics, TrainStep

DEVICE_SHARE = 4
"""One part in so many of what a device has free may be images; the rest is for the steps."""


class RowBatch(flax.struct.PyTreeNode):
    """A batch of images that every device of a mesh holds: their rows.

    Attributes:
        pixels: uint8 B' H W 3, of all images, padded with zeros to the highest and the widest.
        sizes: int32 B' 2, as of a `Batch`; None where every image fills its H W.
        rows: int32 B, of the images above.
        labels: int32 B, in [0, N).
        mask: float32 B, as of a `Batch`.
        mesh: that they are on.
    """

    pixels: jax.Array
    sizes: jax.Array | None
    rows: Array
    labels: Array
    mask: Array
    mesh: Mesh = flax.struct.field(pytree_node=False)

    def gather(self) -> Batch:
        """The images, split over the devices as `put_batch` splits a batch; inside jit.

        Each device gathers the rows of its own share, and nothing crosses between devices.
        """
        sharding = batch_sharding(len(self.labels), self.mesh)

        def take(array: jax.Array) -> jax.Array:
            # Rows are ours and in bounds; the default would look for those that are not.
            taken = array.at[self.rows].get(mode="clip")
            return lax.with_sharding_constraint(taken, sharding)

        pixels, sizes = jax.tree.map(take, (self.pixels, self.sizes))
        return Batch(pixels, self.labels, self.mask, sizes)


@dataclasses.dataclass(frozen=True)
class ResidentImages(Images):
    """Decoded, in the memory of every device of a mesh.

    Attributes:
        pixels: as of a `RowBatch`.
        sizes: as of a `RowBatch`.
        mesh: the mesh.
    """

    pixels: Any = None
    sizes: jax.Array | None = None
    mesh: Any = None

    def take(self, rows: np.ndarray) -> RowBatch:
        """The rows alone."""
        mask = np.ones(len(rows), np.float32)
        labels = self.part.labels[rows]
        return RowBatch(
            self.pixels, self.sizes, np.asarray(rows, np.int32), labels, mask, self.mesh
        )


@dataclasses.dataclass(frozen=True)
class SharedImages(Images):
    """Decoded when they are asked for; of many processes, each decodes the rows of its own devices.

    Attributes:
        mesh: whose devices share each batch.
    """

    mesh: Any = None

    def take(self, rows: np.ndarray) -> Batch:
        """The images, zeros where another process decodes."""
        own = own_rows(len(rows), self.mesh)
        found = self.gather(rows[own])

        def among_zeros(array: np.ndarray) -> np.ndarray:
            whole = np.zeros((len(rows), *array.shape[1:]), array.dtype)
            whole[own] = array
            return whole

        images, sizes = jax.tree.map(among_zeros, (found.images, found.sizes))
        return Batch(images, self.part.labels[rows], np.ones(len(rows), np.float32), sizes)


def with_resident_images(step: TrainStep) -> TrainStep:
    """A training step that also takes a `RowBatch`: it gathers the images first."""

    @functools.wraps(step)
    def gathering(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        return step(state, batch.gather() if isinstance(batch, RowBatch) else batch)

    return gathering


def make_resident(images: Images, mesh: Mesh) -> ResidentImages:
    """Decode every image once, straight to all devices: the host never holds more than some.

    Raises:
        ValueError: an unreadable image, named.
    """
    shape = (len(images), images.height, images.width, 3)
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    pixels = jax.jit(lambda: jnp.zeros(shape, jnp.uint8), out_shardings=everywhere)()
    write = jax.jit(_write, donate_argnums=0)
    sizes, start = [], 0
    for chunk in decoded_chunks(images):
        padded, chunk_sizes = images.pad(chunk)
        pixels = write(pixels, *replicate((padded, np.int32(start)), mesh))
        sizes.append(chunk_sizes)
        start += len(chunk)
    known: Any = replicate(np.concatenate(sizes), mesh) if images.view.whole else None
    return ResidentImages(**fields_of(images), pixels=pixels, sizes=known, mesh=mesh)


def _write(pixels: jax.Array, chunk: jax.Array, start: jax.Array) -> jax.Array:
    return lax.dynamic_update_slice_in_dim(pixels, chunk, start, axis=0)


def ordered_batches(images: Images, batch_size: int, mesh: Mesh) -> Iterator[Batch]:
    """`pipeline.evaluation_batches` on the mesh, wherever the images are.

    Rows that only fill the last batch hold any image.
    """
    if not isinstance(images, ResidentImages):
        for batch in evaluation_batches(images, batch_size):
            yield put_batch(batch, mesh)
        return
    gather = jax.jit(RowBatch.gather)
    for start in range(0, len(images), batch_size):
        rows = np.arange(start, start + batch_size, dtype=np.int32)
        mask = (rows < len(images)).astype(np.float32)
        batch = images.take(np.minimum(rows, len(images) - 1, dtype=np.int32))
        yield gather(put_batch(batch.replace(mask=mask), mesh))


def place_images(images: Images, store: str, mesh: Mesh) -> Images:
    """Decode images to where they are kept; `place` of the result says where, and why.

    Args:
        images: from `open_images`.
        store: `data.image_store`.
        mesh: of the run.

    Raises:
        ValueError: they are to be kept where they cannot be, or an unreadable image, named.
    """
    if store == "auto":
        store, reason = _automatic(images, mesh)
        # Processes may have unequal room, and all must run the same programs.
        store = STORES[broadcast_from_primary(STORES.index(store))]
    else:
        reason = _forced(images, store, mesh)
    if store == "device":
        images = make_resident(images, mesh)
    elif store == "host":
        images = data_images.keep_in_memory(images)
    elif jax.distributed.is_initialized():
        images = SharedImages(**fields_of(images), mesh=mesh)
    return dataclasses.replace(images, place=f"{_WORDS[store]}: {reason}")


_WORDS = {"device": "on the device", "host": "in memory", "stream": "streamed"}
STORES = tuple(_WORDS)


def _automatic(images: Images, mesh: Mesh) -> tuple[str, str]:
    """The choice, and its reason."""
    needed, free = _device_bytes(images, mesh), free_bytes(mesh)
    memory = f"{_text(data_images.MEMORY_LIMIT_BYTES)} of memory"
    if _is_cpu(mesh):
        limit, room = data_images.MEMORY_LIMIT_BYTES, memory
    elif free is not None:
        limit = free // DEVICE_SHARE
        room = f"{_text(limit)}, 1/{DEVICE_SHARE} of what it has free"
    else:
        limit, room = 0, "a device that does not tell its memory"
    if needed <= limit:
        return "device", f"{_text(needed)} fit into {room}"
    not_there = f"{_text(needed)} padded do not fit into {room}"
    if images.bytes <= data_images.MEMORY_LIMIT_BYTES:
        return "host", f"{_text(images.bytes)} fit into {memory}, on the device {not_there}"
    return "stream", f"{_text(images.bytes)} do not fit into {memory}, on the device {not_there}"


def _forced(images: Images, store: str, mesh: Mesh) -> str:
    """Why, in words.

    Raises:
        ValueError: there is not so much memory.
    """
    needed = _device_bytes(images, mesh) if store == "device" else images.bytes
    on_device = store == "device" and not _is_cpu(mesh)
    room = free_bytes(mesh) if on_device else _host_bytes()
    if store != "stream" and room is not None and needed > room:
        where = "free on a device" if on_device else "of memory in this machine"
        raise ValueError(
            f"data.image_store: {store} does not work for {_text(needed)} of images, with "
            f"{_text(room)} {where}; expected stream or auto"
        )
    return f"{_text(needed)}, as data.image_store says"


def free_bytes(mesh: Mesh) -> int | None:
    """Memory that every device of this process has free; None where the backend does not say."""
    found = []
    for device in mesh.local_devices:
        stats = device.memory_stats() or {}
        if "bytes_limit" not in stats:
            return None
        found.append(stats["bytes_limit"] - stats["bytes_in_use"])
    return min(found)


def _device_bytes(images: Images, mesh: Mesh) -> int:
    """What the images take of one memory: the CPU devices of a process have one between them."""
    return images.padded_bytes * (len(mesh.local_devices) if _is_cpu(mesh) else 1)


def _is_cpu(mesh: Mesh) -> bool:
    return mesh.devices.flat[0].platform == "cpu"


def _host_bytes() -> int | None:
    """Memory of this machine; None where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _text(size: int) -> str:
    """Bytes in three digits or so."""
    mib = size / 2**20
    return f"{mib:.3g} MiB" if mib < 999.5 else f"{mib / 2**10:.3g} GiB"

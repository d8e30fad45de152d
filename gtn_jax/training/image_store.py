"""Where decoded training images are kept: on the devices, in host memory, or nowhere.

The first that fits is used. On the devices, a step gathers its own batch. Host memory needs no
padding, but each batch is transferred. Streaming decodes each batch again. CPU devices share host
memory, and each keeps its own copy. Results are the same, so a resumed run may choose again.
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
from gtn_jax.config import Config
from gtn_jax.data import images as data_images
from gtn_jax.data.images import Images, View, decoded_chunks, fields_of, load, open_images
from gtn_jax.data.pipeline import evaluation_batches
from gtn_jax.data.subsets import Subset
from gtn_jax.devices import batch_sharding, own_rows, put_batch, replicate
from gtn_jax.runtime.distributed import broadcast_from_primary
from gtn_jax.training.state import TrainState
from gtn_jax.training.steps import Metrics, TrainStep

DEVICE_SHARE = 4
"""Images may use 1/DEVICE_SHARE of a device's free memory; steps need the rest."""


class RowBatch(flax.struct.PyTreeNode):
    """A batch of images, as rows of an array on every device of a mesh.

    Attributes:
        pixels: uint8 B' H W 3, all images, zero-padded to the largest height and width.
        sizes: int32 B' 2, as in `Batch`; None where every image fills H W.
        rows: int32 B, of `pixels`.
        labels: int32 B, in [0, N).
        mask: float32 B, as in `Batch`.
        mesh: that holds `pixels`.
    """

    pixels: jax.Array
    sizes: jax.Array | None
    rows: Array
    labels: Array
    mask: Array
    mesh: Mesh = flax.struct.field(pytree_node=False)

    def gather(self) -> Batch:
        """The batch, sharded as by `put_batch`; call it inside jit.

        Each device gathers its own rows, without communication.
        """
        sharding = batch_sharding(len(self.labels), self.mesh)

        def take(array: jax.Array) -> jax.Array:
            # Rows are in bounds, so skip the check of the default mode.
            taken = array.at[self.rows].get(mode="clip")
            return lax.with_sharding_constraint(taken, sharding)

        pixels, sizes = jax.tree.map(take, (self.pixels, self.sizes))
        return Batch(pixels, self.labels, self.mask, sizes)


@dataclasses.dataclass(frozen=True)
class ResidentImages(Images):
    """Decoded images in the memory of every device of a mesh; pixels and sizes as in `RowBatch`."""

    pixels: Any = None
    sizes: jax.Array | None = None
    mesh: Any = None

    def take(self, rows: np.ndarray) -> RowBatch:
        """The rows, not yet gathered."""
        mask = np.ones(len(rows), np.float32)
        labels = self.part.labels[rows]
        return RowBatch(
            self.pixels, self.sizes, np.asarray(rows, np.int32), labels, mask, self.mesh
        )


@dataclasses.dataclass(frozen=True)
class SharedImages(Images):
    """Images decoded on demand, by each of several processes for its own devices of `mesh`."""

    mesh: Any = None

    def take(self, rows: np.ndarray) -> Batch:
        """The batch, with zeros where another process decodes."""
        local = own_rows(len(rows), self.mesh)
        batch = self.gather(rows[local])

        def scatter(array: np.ndarray) -> np.ndarray:
            whole = np.zeros((len(rows), *array.shape[1:]), array.dtype)
            whole[local] = array
            return whole

        images, sizes = jax.tree.map(scatter, (batch.images, batch.sizes))
        return Batch(images, self.part.labels[rows], np.ones(len(rows), np.float32), sizes)


def with_resident_images(step: TrainStep) -> TrainStep:
    """Make a training step accept a `RowBatch`, which it gathers first."""

    @functools.wraps(step)
    def gathering(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        return step(state, batch.gather() if isinstance(batch, RowBatch) else batch)

    return gathering


def make_resident(images: Images, mesh: Mesh) -> ResidentImages:
    """Decode images in chunks, onto all devices; ValueError names an unreadable image."""
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

    Padding of the last batch holds arbitrary images.
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


def load_images(
    config: Config, parts: dict[str, Subset], mesh: jax.sharding.Mesh
) -> dict[str, Images]:
    """All splits in the config's view: whole images to crop in training, squares elsewhere.

    Raises ValueError for an unreadable image, or if images do not fit where the config says.
    """
    data = config.data
    train = open_images(parts["train"], View.of(data, training=True))
    images = {"train": place_images(train, data.image_store, mesh)}
    view = View.of(data, training=False)
    return images | {name: load(parts[name], view) for name in parts if name != "train"}


def place_images(images: Images, store: str, mesh: Mesh) -> Images:
    """Decode images to where `data.image_store` says; `place` of the result says where, and why.

    Raises ValueError if they do not fit there, or for an unreadable image, named.
    """
    if store == "auto":
        store, reason = _automatic(images, mesh)
        # Processes may differ in memory, but must run the same programs.
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
    """The reason; ValueError if there is not enough memory."""
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
    """Smallest free memory of this process's devices; None if the backend does not report it."""
    free = []
    for device in mesh.local_devices:
        stats = device.memory_stats() or {}
        if "bytes_limit" not in stats:
            return None
        free.append(stats["bytes_limit"] - stats["bytes_in_use"])
    return min(free)


def _device_bytes(images: Images, mesh: Mesh) -> int:
    """Memory of one copy, or, as CPU devices share memory, of all local copies."""
    return images.padded_bytes * (len(mesh.local_devices) if _is_cpu(mesh) else 1)


def _is_cpu(mesh: Mesh) -> bool:
    return mesh.devices.flat[0].platform == "cpu"


def _host_bytes() -> int | None:
    """Memory of this machine; None if unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _text(size: int) -> str:
    """A size with about three digits."""
    mib = size / 2**20
    return f"{mib:.3g} MiB" if mib < 999.5 else f"{mib / 2**10:.3g} GiB"

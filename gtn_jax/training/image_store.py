"""Where the training images of a run are kept: on the devices, in the host's memory, or nowhere.

The first that fits wins: on the devices a step gathers its own batch; the host's memory needs less
room, as nothing is padded there, but a batch crosses to the devices every step; streaming decodes
it anew. A CPU's devices share the host's memory, and each keeps its own copy. The numbers are the
same in all three, so a resumed run may choose otherwise than it did when it began.
"""

import dataclasses
import functools
import os

import jax
from jax.sharding import Mesh

from gtn_jax.data import images as data_images
from gtn_jax.data.images import Images
from gtn_jax.devices import own_rows
from gtn_jax.runtime.distributed import agreed
from gtn_jax.training.resident import make_resident

DEVICE_SHARE = 4
"""One part in so many of what a device has free may be images; the rest is for the steps."""


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
        store = STORES[agreed(STORES.index(store))]
    else:
        reason = _forced(images, store, mesh)
    if store == "device":
        images = make_resident(images, mesh)
    elif store == "host":
        images = data_images.keep_in_memory(images)
    elif jax.distributed.is_initialized():
        images = dataclasses.replace(images, own_rows=functools.partial(own_rows, mesh=mesh))
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
            f"{_text(room)} {where}; wanted stream or auto"
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

"""Arrays and JSON in a folder, by Orbax (https://orbax.readthedocs.io, the v1 interface).

Only this file knows Orbax (quiet_orbax.py knows what it says). What a folder means, and when it
counts, is checkpoints.py's.
"""

import threading
import time
from pathlib import Path
from typing import Any, Protocol

import jax
from orbax.checkpoint import v1 as ocp

from gtn_jax.devices import put


class Response(Protocol):
    """A write that goes on in the background."""

    def result(self) -> None:
        """Wait for its end; raises whatever it failed with."""
        ...


def begin_write(path: Path, arrays: Any, trees: dict[str, Any]) -> Response:
    """Write a folder; what is on devices is copied before this returns.

    Args:
        path: must not exist; Orbax writes under a longer name first.
        arrays: a pytree of arrays, to be "state".
        trees: name -> a tree of JSON, a file each.
    """
    with _context(trees):
        return ocp.save_checkpointables_async(str(path.absolute()), {"state": arrays, **trees})


def read_trees(path: Path, names: list[str]) -> dict[str, Any]:
    """Those trees of JSON."""
    with _context(names):
        return ocp.load_checkpointables(str(path.absolute()), dict.fromkeys(names))


def read_arrays(path: Path, template: Any) -> Any:
    """The arrays, with the shapes, dtypes and shardings of `template`."""
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_own(leaf.sharding)),
        template,
    )
    with _context(()):
        found = ocp.load_checkpointables(str(path.absolute()), {"state": abstract})["state"]
    return jax.tree.map(lambda leaf, like: put(leaf, like.sharding), found, template)


def read_named_arrays(path: Path) -> dict[str, jax.Array]:
    """The arrays by their names (`state_migration.describe`), on one device of this process.

    For a state whose classes have changed since: Orbax would want them as they were.
    """
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    with _context(()):
        stored = ocp.checkpointables_metadata(str(path.absolute())).metadata["state"]
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), stored
        )
        found = ocp.load_checkpointables(str(path.absolute()), {"state": abstract})["state"]
    leaves, _ = jax.tree_util.tree_flatten_with_path(found)
    return {jax.tree_util.keystr(key, simple=True, separator="/"): leaf for key, leaf in leaves}


def _own(sharding: jax.sharding.Sharding) -> jax.sharding.Sharding:
    """A place in this process, as Orbax reads nothing for others."""
    if sharding.is_fully_addressable:
        return sharding
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def join_writers(seconds: float = 10.0) -> None:
    """Wait for the other threads of a write that has failed: they would go on in its folder."""
    end = time.monotonic() + seconds
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax."):
            # Not the thread's own `join`, which raises what it ended with.
            threading.Thread.join(thread, max(0.0, end - time.monotonic()))


def _count_one_process() -> None:
    """Of many processes, here each reads for itself, and the first alone writes for all.

    Two checks of Orbax 0.12.8 count all processes, not those in `active_processes`: of v1,
    `saving.execution._check_directory_consistency`, a collective that would wait for the others,
    and `array_metadata_store.Validator`, which refuses the metadata of one process. No option turns
    them off (without an `array_metadata_store` a PRNG key loses its type), and no issue of
    https://github.com/google/orbax is known to ask for it. Remove this when both ask
    `active_processes`.
    """
    from orbax.checkpoint._src.multihost import multihost
    from orbax.checkpoint.experimental.v1._src.synchronization import multihost as multihost_v1

    multihost.process_count = multihost_v1.process_count = lambda: 1


def _context(trees: Any) -> Any:
    registry = ocp.handlers.local_registry()
    for name in trees:
        # By itself Orbax makes arrays of numbers in a dict.
        registry.add(ocp.handlers.JsonHandler, checkpointable_name=name)
    context = ocp.Context()
    if jax.distributed.is_initialized():
        _count_one_process()
        # By itself Orbax has each process write a part of what all of them hold.
        context.array.saving.use_replica_parallel = False
        context.multiprocessing.primary_host = jax.process_index()
        context.multiprocessing.active_processes = {jax.process_index()}
    context.checkpointables.registry = registry
    # In the background, threads that wait for a folder that could not be made keep the process
    # alive for 20 minutes.
    context.asynchronous.create_directories_asynchronously = False
    return context

"""Arrays and JSON in a folder, by Orbax (https://orbax.readthedocs.io, API v1)."""

import threading
import time
from pathlib import Path
from typing import Any, Protocol

import jax
from orbax.checkpoint import v1 as ocp

from gtn_jax.devices import put


class Response(Protocol):
    """A write in the background."""

    def result(self) -> None:
        """Wait for it; raises its error."""
        ...


def begin_write(path: Path, arrays: Any, trees: dict[str, Any]) -> Response:
    """Start to write a folder; arrays on devices are copied before this returns.

    Args:
        path: must not exist; Orbax first writes to a longer name.
        arrays: a pytree of arrays, stored as "state".
        trees: name -> a JSON tree.
    """
    with _context(trees):
        return ocp.save_checkpointables_async(str(path.absolute()), {"state": arrays, **trees})


def read_trees(path: Path, names: list[str]) -> dict[str, Any]:
    """The JSON trees of these names."""
    with _context(names):
        return ocp.load_checkpointables(str(path.absolute()), dict.fromkeys(names))


def read_arrays(path: Path, template: Any) -> Any:
    """The arrays, with the shapes, dtypes and shardings of `template`."""
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_local(leaf.sharding)),
        template,
    )
    with _context(()):
        state = ocp.load_checkpointables(str(path.absolute()), {"state": abstract})["state"]
    return jax.tree.map(lambda leaf, like: put(leaf, like.sharding), state, template)


def read_named_arrays(path: Path) -> dict[str, jax.Array]:
    """The arrays by name (`state_migration.describe`), on one local device. For states whose
    classes have changed, which Orbax needs unchanged."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    with _context(()):
        stored = ocp.checkpointables_metadata(str(path.absolute())).metadata["state"]
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), stored
        )
        state = ocp.load_checkpointables(str(path.absolute()), {"state": abstract})["state"]
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(key, simple=True, separator="/"): leaf for key, leaf in leaves}


def _local(sharding: jax.sharding.Sharding) -> jax.sharding.Sharding:
    """A sharding within this process: Orbax reads nothing for others."""
    if sharding.is_fully_addressable:
        return sharding
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def join_writers(seconds: float = 10.0) -> None:
    """Wait for the other threads of a failed write, which would continue in its folder."""
    end = time.monotonic() + seconds
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax."):
            # Not `thread.join`, which raises the thread's error.
            threading.Thread.join(thread, max(0.0, end - time.monotonic()))


def _act_as_one_process() -> None:
    """Make Orbax treat each process as if it were alone: each reads, and the primary one writes.

    Two checks in Orbax 0.12.8 use the process count instead of `active_processes`:
    `saving.execution._check_directory_consistency` of v1, a collective that would block, and
    `array_metadata_store.Validator`, which rejects the metadata of one process. No option turns
    them off (without an `array_metadata_store`, PRNG keys lose their type), and
    https://github.com/google/orbax has no issue about it that we know of. Remove this when both use
    `active_processes`.
    """
    from orbax.checkpoint._src.multihost import multihost
    from orbax.checkpoint.experimental.v1._src.synchronization import multihost as multihost_v1

    multihost.process_count = multihost_v1.process_count = lambda: 1


def _context(trees: Any) -> Any:
    registry = ocp.handlers.local_registry()
    for name in trees:
        # By default, Orbax turns numbers in a dict into arrays.
        registry.add(ocp.handlers.JsonHandler, checkpointable_name=name)
    context = ocp.Context()
    if jax.distributed.is_initialized():
        _act_as_one_process()
        # By default, each process writes a part of replicated arrays.
        context.array.saving.use_replica_parallel = False
        context.multiprocessing.primary_host = jax.process_index()
        context.multiprocessing.active_processes = {jax.process_index()}
    context.checkpointables.registry = registry
    # Otherwise, threads that wait for a folder that could not be made live for 20 minutes.
    context.asynchronous.create_directories_asynchronously = False
    return context

"""Arrays and JSON in a folder, by Orbax (https://orbax.readthedocs.io, the v1 interface).

Only this file knows Orbax (orbax_words.py knows what it says). What a folder means, and when it
counts, is checkpoint.py's.
"""

import threading
import time
from pathlib import Path
from typing import Any, Protocol

import jax
from orbax.checkpoint import v1 as ocp


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
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), template
    )
    with _context(()):
        return ocp.load_checkpointables(str(path.absolute()), {"state": abstract})["state"]


def join_writers(seconds: float = 10.0) -> None:
    """Wait for the other threads of a write that has failed: they would go on in its folder."""
    end = time.monotonic() + seconds
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax."):
            # Not the thread's own `join`, which raises what it ended with.
            threading.Thread.join(thread, max(0.0, end - time.monotonic()))


def _context(trees: Any) -> Any:
    registry = ocp.handlers.local_registry()
    for name in trees:
        # By itself Orbax makes arrays of numbers in a dict.
        registry.add(ocp.handlers.JsonHandler, checkpointable_name=name)
    context = ocp.Context()
    if jax.distributed.is_initialized():
        # Each process for itself: it is the first one alone that saves.
        context.multiprocessing.primary_host = jax.process_index()
        context.multiprocessing.active_processes = {jax.process_index()}
    context.checkpointables.registry = registry
    # In the background, threads that wait for a folder that could not be made keep the process
    # alive for 20 minutes.
    context.asynchronous.create_directories_asynchronously = False
    return context

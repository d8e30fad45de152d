"""What a process of the command line decides for itself before it computes."""

import sys
from collections.abc import Sequence
from typing import Any


def set_up_process() -> None:
    """Before a verb computes, and before it imports what it computes with.

    Freed memory is kept, and what is compiled for the next process.
    """
    from gtn_jax.runtime.allocator import collect_garbage_rarely, keep_freed_memory

    keep_freed_memory()
    collect_garbage_rarely()
    from gtn_jax.runs.quiet_orbax import keep_failed_saves_short
    from gtn_jax.runtime.compilation_cache import enable

    keep_failed_saves_short()

    reason = enable()
    if reason is not None:
        print(f"note    {reason}", file=sys.stderr)


def name_devices(devices: Sequence[Any] | None = None) -> None:
    """The first line of a verb that computes, on standard error: the answer goes to the other.

    Args:
        devices: that it computes on; None: all that JAX has.

    Raises:
        ValueError: JAX was asked for devices that are not there.
    """
    from gtn_jax.devices import data_mesh, in_words

    print(f"device  {in_words(data_mesh(devices))}", file=sys.stderr, flush=True)

"""What a process of the command line decides for itself before it computes."""

import sys


def set_up_process() -> None:
    """Before a verb computes, and before it imports what it computes with.

    Freed memory is kept, and what is compiled for the next process.
    """
    from gtn_jax.training.allocator import collect_garbage_rarely, keep_freed_memory

    keep_freed_memory()
    collect_garbage_rarely()
    from gtn_jax.training.compilation_cache import enable
    from gtn_jax.training.orbax_words import keep_failed_saves_short

    keep_failed_saves_short()

    reason = enable()
    if reason is not None:
        print(f"note    {reason}", file=sys.stderr)

"""Memory of the whole process: what a step frees stays for the next step to take, and garbage is
looked for less often.

On a CPU, XLA takes every step's buffers from glibc's malloc, which gives large ones back to the
kernel at once; the next step then waits for zeroed pages again, hundreds of thousands of them
(mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html). Only the command line calls
this: it is for the whole process, and a program of your own may want something else.
"""

import ctypes
import gc

# malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_NEVER = -1


def keep_freed_memory() -> bool:
    """Ask malloc to give nothing back; the process's memory stays at its peak.

    On two cores, a ResNet-50 step of 16 images took 5.0 s instead of 5.7 s, with none of 600,000
    page faults, at the same peak (in one of two runs the heap grew by half in some steps).

    Returns:
        Whether it will; False where malloc is not glibc's.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # One arena without mmap: a freed buffer is found again whichever thread wants it.
    wishes = ((_MMAP_MAX, 0), (_ARENA_MAX, 1), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, 2**26))
    return all(mallopt(wish, value) == 1 for wish, value in wishes)


def collect_garbage_rarely() -> None:
    """Look for unreachable cycles after 100,000 new objects, not after 700.

    Importing and tracing make millions of objects that live on, and Python looks at all of them
    again and again: 0.4 of 3.0 s to the first step of the quickstart. Call it first of all.
    """
    gc.set_threshold(100_000, 20, 20)

"""Memory of the whole process: large pages, kept when freed; and garbage is looked for less often.

On a CPU, XLA takes every step's buffers from glibc's malloc, which gives large ones back to the
kernel at once; the next step then waits for zeroed pages again, hundreds of thousands of 4 kB.
Only the command line calls this: it is for the whole process, and a program of your own may want
something else (docs/devices.md).
"""

import ctypes
import gc
import os
import sys
from pathlib import Path

_MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_TUNABLE = "glibc.malloc.hugetlb"
HUGE_PAGES = f"{_TUNABLE}=1"
"""For GLIBC_TUNABLES, the environment variable."""
_SINCE = (2, 35)

# malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_NEVER = -1


def start_again_with_huge_pages() -> None:
    """Replace this process by itself, told to ask for huge pages; call it first of all.

    glibc reads the setting (https://sourceware.org/glibc/manual/latest/html_node/
    Memory-Allocation-Tunables.html) when a process starts, so it is one for the environment.
    Nothing happens where it is there, or where the kernel or the C library know nothing of it.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if _huge_page_mode() != "madvise" or _TUNABLE in tunables or _glibc() < _SINCE:
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, HUGE_PAGES)))
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:
        pass  # an interpreter inside another program: it goes on as it is


def _huge_page_mode() -> str:
    """The kernel's: "always", "madvise" (who asks) or "never"; empty where there is none."""
    try:
        return _MODE.read_text().partition("[")[2].partition("]")[0]
    except OSError:
        return ""


def _glibc() -> tuple[int, ...]:
    """Its version; () for another C library."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return tuple(int(part) for part in version.split(".")) if name == "glibc" else ()
    except (AttributeError, OSError, ValueError):
        return ()


def keep_freed_memory() -> bool:
    """Ask malloc to give nothing back (mallopt(3)); the process's memory stays at its peak.

    On two cores, a ResNet-50 step of 16 images takes 3.45 s, without it 3.70 s, or 4.6 s where
    other processes leave few large pages. It also takes 6.3 GB instead of 3.8, as large buffers and
    small ones come to lie between each other; 8.9 GB without large pages.

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
    again and again: 0.4 of 3.0 s to the first step of the quickstart.
    """
    gc.set_threshold(100_000, 20, 20)

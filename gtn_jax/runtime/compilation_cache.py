"""Compiled programs kept on disk, so that the second process does not compile what the first did.

Only the command line calls this; a program of your own sets JAX's options itself. An entry is
machine code that runs with your rights: the folder must be yours, and nobody else may write to it
(https://docs.jax.dev/en/latest/persistent_compilation_cache.html). JAX's key of an entry covers the
program, the versions, the compiler's options and the kind of device.
"""

import contextlib
import os
import stat
import zlib
from pathlib import Path

import jax

DIRECTORY = Path("~/.cache/gtn_jax/xla")
LIMIT_BYTES = 2 * 2**30
"""Of all entries when a process starts; beyond it, the oldest go."""
VARIABLES = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
"""Who sets one of them has decided; then nothing is done here."""
_SUFFIX, _CHECKED = "-cache", "checked"


def enable(directory: Path = DIRECTORY) -> str | None:
    """Use `directory` from now on; call it before the first compilation.

    Args:
        directory: made if need be, with mode 0700.

    Returns:
        None, or one line: why programs are not kept.
    """
    if any(name in os.environ for name in VARIABLES):
        return None
    directory = directory.expanduser()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = _distrust(directory)
    except OSError as error:
        reason = str(error)
    if reason is not None:
        return f"compiled programs are not kept: {reason}; or set {VARIABLES[0]}"
    with contextlib.suppress(FileNotFoundError):  # Another process tidies as well.
        _tidy(directory)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    # Small programs are many, and each costs a process 10 to 100 ms.
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    return None


def _distrust(directory: Path) -> str | None:
    """Why code from there must not run, or None."""
    status = directory.stat()
    if status.st_uid != os.getuid():
        return f"{directory} belongs to another user; remove it"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to {directory}; run chmod 700 on it"
    return None


def _tidy(directory: Path) -> None:
    """Remove what is torn, and the oldest where it is too much.

    JAX writes entries in place and never over an old one: one that a killed process left torn would
    be read in vain, with a warning, by every later process. JAX's own limit of size has a lock and
    files that a kill leaves in disorder.
    """
    stamp = directory / _CHECKED
    checked = stamp.stat().st_mtime_ns if stamp.exists() else 0
    stamp.touch()
    left = LIMIT_BYTES
    entries = [(entry.stat(), entry) for entry in directory.glob(f"*{_SUFFIX}")]
    for status, entry in sorted(entries, key=lambda pair: -pair[0].st_mtime_ns):
        left -= status.st_size
        if left < 0 or (status.st_mtime_ns >= checked and not _is_whole(entry)):
            entry.unlink(missing_ok=True)


def _is_whole(entry: Path) -> bool:
    """Whether the entry decompresses; what is not zlib (it may be Zstandard) counts as whole."""
    content = entry.read_bytes()
    if content[:1] != b"\x78":
        return len(content) > 0
    try:
        zlib.decompress(content)
    except zlib.error:
        return False
    return True

"""JAX's persistent compilation cache, in a folder that is safe to load code from.

Only the command line uses this; other programs configure JAX themselves. Cache entries are machine
code that runs with the user's permissions, so nobody else may write to the folder
(https://docs.jax.dev/en/latest/persistent_compilation_cache.html).
"""

import contextlib
import os
import stat
import zlib
from pathlib import Path

import jax

DIRECTORY = Path("~/.cache/gtn_jax/xla")
LIMIT_BYTES = 2 * 2**30
"""Size at process start beyond which the oldest entries are removed."""
VARIABLES = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
"""If one of them is set, the user has configured the cache, and `enable` does nothing."""
_SUFFIX, _CHECKED = "-cache", "checked"


def enable(directory: Path = DIRECTORY) -> str | None:
    """Use `directory` from now on; call it before the first compilation.

    Args:
        directory: created with mode 0700 if missing.

    Returns:
        None, or one line: why programs are not cached.
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
    with contextlib.suppress(FileNotFoundError):  # Another process also tidies.
        _tidy(directory)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    # There are many small programs, at 10 to 100 ms of compilation each.
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    return None


def _distrust(directory: Path) -> str | None:
    """Why code in this folder must not run, or None."""
    status = directory.stat()
    if status.st_uid != os.getuid():
        return f"{directory} belongs to another user; remove it"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to {directory}; run chmod 700 on it"
    return None


def _tidy(directory: Path) -> None:
    """Remove truncated entries, and the oldest ones beyond the size limit.

    JAX writes entries in place and never replaces them: every later process would fail to read a
    truncated one, with a warning. JAX's own size limit uses a lock and files that do not survive a
    kill.
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
    """Whether the entry decompresses; entries that are not zlib (but e.g. Zstandard) count as
    whole."""
    content = entry.read_bytes()
    if content[:1] != b"\x78":
        return len(content) > 0
    try:
        zlib.decompress(content)
    except zlib.error:
        return False
    return True

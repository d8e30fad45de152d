"""Atomic writing of new .safetensors files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from gtn_jax.files import write_bytes


def check_new_file(path: Path) -> None:
    """Check, before any work, that `write_safetensors` can write to `path`: ValueError for another
    suffix, an existing file, or a missing directory."""
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: the name must end in .safetensors")
    if path.exists():
        raise ValueError(f"{path}: exists already; remove it or choose another name")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent}: no such folder; make it first")


def write_safetensors(
    tensors: Mapping[str, np.ndarray], path: Path, metadata: Mapping[str, str]
) -> None:
    """Write C-contiguous tensors and header metadata; ValueError as in `check_new_file`."""
    check_new_file(path)
    write_bytes(path, save(dict(tensors), dict(metadata)))

"""Tensors -> a new .safetensors file that appears complete or not at all."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from gtn_jax.files import write_bytes


def check_new_file(path: Path) -> None:
    """Refuse, before any work, a file that could not be written.

    Raises:
        ValueError: another suffix, there already, or in no existing folder.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: the name must end in .safetensors")
    if path.exists():
        raise ValueError(f"{path}: exists already; remove it or choose another name")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent}: no such folder; make it first")


def write_safetensors(
    tensors: Mapping[str, np.ndarray], path: Path, metadata: Mapping[str, str]
) -> None:
    """Write the file as a whole.

    Args:
        tensors: by name, C-contiguous.
        path: of the new file; see `check_new_file`.
        metadata: goes into the file's header.

    Raises:
        ValueError: as `check_new_file`; or it cannot be written.
    """
    check_new_file(path)
    write_bytes(path, save(dict(tensors), dict(metadata)))

"""Tensors -> a new .safetensors file that appears complete or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file


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
    """Write under a name of its own, then rename.

    Args:
        tensors: by name, C-contiguous.
        path: of the new file; see `check_new_file`.
        metadata: goes into the file's header.

    Raises:
        ValueError: as `check_new_file`; or the file system refuses.
    """
    check_new_file(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(dict(tensors), partial, metadata=dict(metadata))
        os.rename(partial, path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: could not be written ({error})") from error
    finally:
        partial.unlink(missing_ok=True)

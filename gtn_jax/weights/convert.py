"""`gtn convert`: a PyTorch checkpoint -> a .safetensors file with the same tensors."""

from pathlib import Path
from typing import NamedTuple

from gtn_jax.weights.keymaps import is_ignored, strip_module
from gtn_jax.weights.read import PICKLE_SUFFIXES, existing_file, read_pickle
from gtn_jax.weights.write import check_new_file, write_safetensors


class Converted(NamedTuple):
    """The result of `convert`."""

    path: Path
    tensors: int  # number of tensors written
    dropped: tuple[str, ...]  # names that no model here uses
    notes: tuple[str, ...]  # one line per conversion of dtypes


def convert(src: str | Path, dst: str | Path) -> Converted:
    """Write the tensors of a PyTorch checkpoint (see `read_pickle`) to a new .safetensors file.

    Removes "module." from the names, drops `num_batches_tracked` and widens 16-bit floats to
    float32. The write is atomic.

    Raises:
        ValueError: `src` is missing, unreadable or not a PyTorch file; `dst` as in
            `check_new_file`; or two names differ only by "module.".
    """
    src, dst = existing_file(src), Path(dst)
    if src.suffix not in PICKLE_SUFFIXES:
        raise ValueError(f"{src}: expected a PyTorch file ({', '.join(PICKLE_SUFFIXES)})")
    check_new_file(dst)
    notes: list[str] = []
    tensors = read_pickle(src, notes.append)
    renamed = {strip_module(name): array for name, array in tensors.items() if not is_ignored(name)}
    dropped = tuple(name for name in tensors if is_ignored(name))
    if len(renamed) + len(dropped) != len(tensors):
        raise ValueError(f"{src}: some tensors are there with and without 'module.'; keep one")
    write_safetensors(renamed, dst, {"source": src.name})
    return Converted(dst, len(renamed), dropped, tuple(notes))

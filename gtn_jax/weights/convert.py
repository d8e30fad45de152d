"""`gtn convert`: a PyTorch checkpoint -> the same tensors as a .safetensors file.

The only way in for pickles: everything else here reads safetensors. Names stay the source's, but
for the "module." of DataParallel; whether they fit a model is port.py's question, asked on use.
"""

from pathlib import Path
from typing import NamedTuple

from gtn_jax.weights.keymaps import is_ignored, strip_module
from gtn_jax.weights.read import PICKLE_SUFFIXES, existing_file, read_pickle
from gtn_jax.weights.write import check_new_file, write_safetensors


class Converted(NamedTuple):
    """What `convert` did.

    Attributes:
        path: the file written.
        tensors: how many it holds.
        dropped: names left out because no model of ours has a use for them.
        notes: a line for what else was done to the numbers.
    """

    path: Path
    tensors: int
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


def convert(src: str | Path, dst: str | Path) -> Converted:
    """Write the tensors of a PyTorch checkpoint to a new .safetensors file.

    "module." is stripped from the names, `num_batches_tracked` dropped, halves widened to
    float32. `dst` appears complete or not at all.

    Args:
        src: .pth, .pt, .th, .bin or .ckpt; a state dict or {"state_dict": ...}.
        dst: path of the .safetensors file to write; must not exist.

    Raises:
        ValueError: `src` absent, unreadable or not a PyTorch file; `dst` there already, of another
            suffix, or in no existing folder; two names that differ by "module." only.
    """
    src, dst = existing_file(src), Path(dst)
    if src.suffix not in PICKLE_SUFFIXES:
        raise ValueError(f"{src}: expected a PyTorch file ({', '.join(PICKLE_SUFFIXES)})")
    check_new_file(dst)
    notes: list[str] = []
    tensors = read_pickle(src, notes.append)
    kept = {strip_module(name): array for name, array in tensors.items() if not is_ignored(name)}
    dropped = tuple(name for name in tensors if is_ignored(name))
    if len(kept) + len(dropped) != len(tensors):
        raise ValueError(f"{src}: some tensors are there with and without 'module.'; keep one")
    write_safetensors(kept, dst, {"source": src.name})
    return Converted(dst, len(kept), dropped, tuple(notes))

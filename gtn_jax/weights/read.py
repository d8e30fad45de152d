"""A weights file on disk -> {name: numpy array}, in the file's own names and layouts.

safetensors is the format that everything here reads. PyTorch's pickles (.pth, .pt, .th) run code
when opened carelessly, so only `gtn convert` opens them (see convert.py), through `read_pickle`.
No name or layout is changed here: that is keymaps.py and port.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

PICKLE_SUFFIXES = (".pth", ".pt", ".th", ".bin", ".ckpt")

# The names of the safetensors header. safetensors' own numpy reader has no bfloat16.
_DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_HALF = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Every tensor of a .safetensors file; float16 and bfloat16 become float32.

    Returns:
        Arrays of their own, in the file's names, layouts and (halves apart) dtypes.

    Raises:
        ValueError: no such file, a PyTorch file, or not a sound safetensors file.
    """
    path = existing_file(path)
    if path.suffix in PICKLE_SUFFIXES:
        raise ValueError(
            f"{path}: a PyTorch file, weights are read from .safetensors\n"
            f"run: gtn convert {path} {path.with_suffix('.safetensors')}"
        )
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path}: not a sound safetensors file ({error}); fetch or convert it again"
        ) from error
    return {name: _array(path, name, entry) for name, entry in entries}


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"{path}: {name} is {entry['dtype']}; save it as float32")
    array = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    # A copy: the buffer may be read-only, and a view would keep the whole file in memory.
    return array.astype(np.float32 if array.dtype in _HALF else array.dtype)


def read_pickle(path: str | Path) -> dict[str, np.ndarray]:
    """Every tensor of a PyTorch checkpoint, read without running the code in it.

    A checkpoint that holds its tensors under "state_dict" (with an epoch, an optimizer ... beside
    it) is unwrapped. Needs torch 2.10 or later: `weights_only=True` of earlier ones could be made
    to run code (CVE-2025-32434, CVE-2026-24747).

    Returns:
        C-contiguous arrays under the file's names; float16 and bfloat16 become float32.

    Raises:
        ValueError: no such file, no torch or too old a one, or a file that is not a state dict.
    """
    path = existing_file(path)
    torch = import_torch(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip, I/O and torch's own: a dozen unrelated types
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(
            f"{path}: torch.load(weights_only=True) refuses it: {reason[0][:200]}\n"
            'if you trust the file, save its tensors alone: torch.save(checkpoint["state_dict"])'
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path}: holds a {type(content).__name__}, expected a state dict")
    other = [str(name) for name, value in content.items() if not torch.is_tensor(value)]
    if other:
        raise ValueError(
            f"{path}: {len(other)} entries are not tensors ({', '.join(other[:5])}); "
            "save the model's state_dict() alone"
        )
    return {str(name): _from_torch(torch, value) for name, value in content.items()}


def _from_torch(torch: Any, value: Any) -> np.ndarray:
    value = value.detach().to("cpu")
    if value.dtype in (torch.float16, torch.bfloat16):
        value = value.float()
    return np.array(value.numpy(), order="C")


def import_torch(path: Path) -> Any:
    """PyTorch, an optional extra, in a version that opens files safely.

    Args:
        path: of the file that it is wanted for.

    Raises:
        ValueError: not installed, or too old.
    """
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            f'{path}: PyTorch files need torch: pip install "gtn_jax[torch]"'
        ) from error
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 10):
        raise ValueError(
            f"{path}: torch {torch.__version__} opens such files unsafely, 2.10 or later is "
            'needed: pip install --upgrade "gtn_jax[torch]"'
        )
    return torch


def existing_file(path: str | Path) -> Path:
    """`path`, if a file is there.

    Raises:
        ValueError: nothing there, or a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; name the weights file inside it")
    if not path.is_file():
        raise ValueError(f"{path}: no such weights file")
    return path

"""Weights files -> {name: numpy array}, in the names and layouts of the file.

Everything here reads safetensors. PyTorch's pickles (.pth, .pt, .th) can run code when opened, so
only `gtn convert` opens them, with `read_pickle`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from gtn_jax.errors import one_line

PICKLE_SUFFIXES = (".pth", ".pt", ".th", ".bin", ".ckpt")

# Types in the safetensors header. safetensors' own NumPy reader does not support bfloat16.
_DTYPES: dict[str, Any] = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_HALF = {"F16": "float16", "BF16": "bfloat16"}
# Pickle protocols 2 to 5, and the zip archive of torch.save since PyTorch 1.6.
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")

Note = Callable[[str], None]  # receives one line about a conversion of dtypes


def read_safetensors(path: str | Path, note: Note | None = None) -> dict[str, np.ndarray]:
    """Every tensor of a .safetensors file, copied; float16 and bfloat16 become float32.

    `note` receives one line if tensors were widened. ValueError if the file is missing or invalid.
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
        check_kind(path)
        raise ValueError(
            f"{path}: not a sound safetensors file ({error}); fetch or convert it again"
        ) from error
    _note_halves(path, [entry["dtype"] for _, entry in entries if entry["dtype"] in _HALF], note)
    return {name: _array(path, name, entry) for name, entry in entries}


def check_kind(path: Path) -> None:
    """Identify an invalid file: ValueError if it is empty, a Git LFS pointer, a web page, or (named
    .safetensors) a PyTorch file."""
    with path.open("rb") as file:
        head = file.read(1024)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise ValueError(f"{path}: an empty file; fetch it again")
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        raise ValueError(
            f"{path}: a Git LFS pointer, not the weights; run `git lfs pull` where it was cloned, "
            "or download the file itself"
        )
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        raise ValueError(
            f"{path}: a web page, not weights; download the file by its direct link (on Hugging "
            "Face: /resolve/, not /blob/), logged in if it asks for that"
        )
    if path.suffix not in PICKLE_SUFFIXES and head.startswith(_PICKLE_STARTS):
        pickle = path.with_suffix(".pth")
        raise ValueError(
            f"{path}: a PyTorch file (pickle) under the name of a safetensors file; rename it\n"
            f"to {pickle} and run: gtn convert {pickle} {path}"
        )


def _note_halves(path: Path, halves: list[str], note: Note | None) -> None:
    if halves and note:
        kinds = " and ".join(sorted(_HALF[kind] for kind in set(halves)))
        note(f"{path}: {len(halves)} tensors of {kinds} widened to float32")


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"{path}: {name} is {entry['dtype']}; save it as float32")
    array = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    # Copied, as the buffer may be read-only and a view would keep the whole file in memory.
    return array.astype(np.float32 if entry["dtype"] in _HALF else array.dtype)


def read_pickle(path: str | Path, note: Note | None = None) -> dict[str, np.ndarray]:
    """Every tensor of a PyTorch checkpoint, read without running the code in it.

    The file holds a state dict, or one under "state_dict". Needs torch 2.10 or later: earlier
    `weights_only=True` could be made to run code (CVE-2025-32434, CVE-2026-24747). `note` receives
    one line if tensors were widened.

    Returns:
        C-contiguous arrays under the file's names; float16 and bfloat16 become float32.

    Raises:
        ValueError: not an existing file, torch missing or too old, or not a state dict.
    """
    path = existing_file(path)
    check_kind(path)
    torch = import_torch(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unrelated types of pickle, zip, I/O and torch
        raise ValueError(
            f"{path}: torch.load(weights_only=True) refuses it: {one_line(error)}\n"
            'if you trust the file, save its tensors alone: torch.save(checkpoint["state_dict"])'
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path}: holds a {type(content).__name__}, expected a state dict")
    invalid = [str(name) for name, value in content.items() if not torch.is_tensor(value)]
    if invalid:
        raise ValueError(
            f"{path}: {len(invalid)} entries are not tensors ({', '.join(invalid[:5])}); "
            "save the model's state_dict() alone"
        )
    kinds = {torch.float16: "F16", torch.bfloat16: "BF16"}
    halves = [kinds[value.dtype] for value in content.values() if value.dtype in kinds]
    _note_halves(path, halves, note)
    return {
        str(name): np.array(
            (value.float() if value.dtype in kinds else value).detach().cpu().numpy(), order="C"
        )
        for name, value in content.items()
    }


def import_torch(path: Path) -> Any:
    """Import PyTorch, an optional extra, to read `path`; ValueError if missing or too old."""
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
    """The path of an existing file; ValueError if it is missing or a directory."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; name the weights file inside it")
    if not path.is_file():
        raise ValueError(f"{path}: no such weights file")
    return path

"""Known weights: what `model.weights` may name, and how images are normalised for them.

Three kinds of names resolve to a .safetensors file: a row of `WEIGHTS` (the file comes with this
package), "hf:OWNER/NAME" (see hub.py) and a path. Reading the file is read.py.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from gtn_jax.errors import unknown_name
from gtn_jax.weights import hub
from gtn_jax.weights.read import PICKLE_SUFFIXES, existing_file

ASSETS = Path(__file__).parent / "assets"

Rgb = tuple[float, float, float]

IMAGENET_MEAN: Rgb = (0.485, 0.456, 0.406)
IMAGENET_STD: Rgb = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class WeightsInfo:
    """What has to travel with a weights file.

    Attributes:
        file: name, inside `ASSETS` for a row of `WEIGHTS`.
        backbone: name in `BACKBONES` that it was trained as; None if not recorded.
        mean: of the training images, RGB, pixels scaled to [0, 1].
        std: of the same.
        licence: of the weights, which need not be that of the code; empty if not recorded.
        description: one line for `gtn list`.
        sha256: hexadecimal digest of the file, compared on use; empty skips that.
    """

    file: str
    backbone: str | None = None
    mean: Rgb = IMAGENET_MEAN
    std: Rgb = IMAGENET_STD
    licence: str = ""
    description: str = ""
    sha256: str = ""


WEIGHTS: dict[str, WeightsInfo] = {
    "tiny_imagenet": WeightsInfo(
        file="tiny_imagenet.safetensors",
        backbone="resnet8_wide",
        licence="non-commercial research and education, as Tiny-ImageNet",
        description="resnet8_wide from scratch on Tiny-ImageNet at 32 px; card: tiny_imagenet.md",
        sha256="60c0bcf63060d8913616c53d3e382d617bf8a2347c00c4558b1922659d867864",
    ),
}
"""Name -> row, for the files in `ASSETS`."""


def resolve(weights: str | Path) -> tuple[Path, WeightsInfo]:
    """The file that `weights` means, and what is known about it.

    Args:
        weights: a key of `WEIGHTS`, "hf:OWNER/NAME[@REVISION]", or the path of a file.

    Returns:
        An existing file; its row, or one with ImageNet's mean and deviation where none is known.

    Raises:
        ValueError: unknown name, missing file, or a file of ours that has changed on disk.
    """
    name = str(weights)
    if name in WEIGHTS:
        info = WEIGHTS[name]
        path = existing_file(ASSETS / info.file)
        _check_digest(path, info.sha256)
        return path, info
    if name.startswith(hub.PREFIX):
        fetched = hub.fetch(name)
        mean, std = fetched.mean or IMAGENET_MEAN, fetched.std or IMAGENET_STD
        return fetched.path, WeightsInfo(fetched.path.name, mean=mean, std=std)
    path = Path(weights).expanduser()
    if path.exists() or len(path.parts) > 1 or path.suffix in (".safetensors", *PICKLE_SUFFIXES):
        return existing_file(path), _recorded(path)
    raise ValueError(f"{unknown_name('weights', name, WEIGHTS)}\nor give a .safetensors file")


def _recorded(path: Path) -> WeightsInfo:
    """What a file's own metadata says; ImageNet's mean and deviation where it says nothing."""
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
        mean, std = (tuple(json.loads(metadata[key])) for key in ("mean", "std"))
    except (SafetensorError, OSError, KeyError, ValueError):
        return WeightsInfo(path.name)  # read.py says what is wrong with a broken file
    return WeightsInfo(path.name, backbone=metadata.get("backbone"), mean=mean, std=std)


def _check_digest(path: Path, expected: str) -> None:
    # A flipped bit in a safetensors file loads without complaint: the format has no checksum.
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if expected and found != expected:
        raise ValueError(
            f"{path}: damaged (SHA-256 {found[:12]}..., expected {expected[:12]}...); "
            "install the package again"
        )

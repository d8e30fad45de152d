"""Known weights: what `model.weights` may name, and how images are normalized for them.

Three kinds of names resolve to a .safetensors file: a row of `WEIGHTS` (the file comes with this
package), "hf:OWNER/NAME" (see hub.py) and a path. Reading the file is read.py.
"""

import dataclasses
import hashlib
import json
import math
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

    Mean and deviation are what images are normalized with. Interpolation and crop record how the
    weights were evaluated where they come from; data/decode.py resizes bilinearly and crops as the
    config says, whatever stands here.

    Attributes:
        file: name, inside `ASSETS` for a row of `WEIGHTS`.
        backbone: name in `BACKBONES` that it was trained as; None if not recorded.
        mean: of the training images, RGB, pixels scaled to [0, 1].
        std: of the same.
        license: of the weights, which need not be that of the code; empty if not recorded.
        description: one line for `gtn list`.
        sha256: hexadecimal digest of the file, compared on use; empty skips that.
        interpolation: of resizing, e.g. "bilinear".
        crop: side of the center square / short side of the resized image.
        revision: commit of the repository that a row of `HUB` is pinned to; empty: the newest.
    """

    file: str
    backbone: str | None = None
    mean: Rgb = IMAGENET_MEAN
    std: Rgb = IMAGENET_STD
    license: str = ""
    description: str = ""
    sha256: str = ""
    interpolation: str = "bilinear"
    crop: float = 0.875
    revision: str = ""


WEIGHTS: dict[str, WeightsInfo] = {
    "tiny_imagenet": WeightsInfo(
        file="tiny_imagenet.safetensors",
        backbone="resnet8_wide",
        license="non-commercial research and education, as Tiny-ImageNet",
        description="resnet8_wide from scratch on Tiny-ImageNet at 32 px; card: tiny_imagenet.md",
        sha256="60c0bcf63060d8913616c53d3e382d617bf8a2347c00c4558b1922659d867864",
    ),
}
"""Name -> row, for the files in `ASSETS`."""

# Revisions and digests of model.safetensors are those that other public projects pin and compare;
# nobody has downloaded these files through this package yet. Where none was found, the field is
# empty: then the newest revision is taken, or the file not compared. Licenses and transforms are
# those of config.json or of timm's own table, for microsoft/resnet-50 of the
# preprocessor_config.json that models fine-tuned from it carry.
HUB: dict[str, WeightsInfo] = {
    "timm/resnet50.tv_in1k": WeightsInfo(
        hub.FILE,
        "resnet50",
        license="BSD-3-Clause",
        description="torchvision's first ImageNet-1k weights, what the GTN authors start from",
        sha256="5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
        revision="78f3ecfdb38e06d9b8397f662e7ab8fee96026fa",
    ),
    "timm/resnet50.ra_in1k": WeightsInfo(
        hub.FILE,
        "resnet50",
        license="Apache-2.0",
        description="timm's ImageNet-1k weights with RandAugment",
        interpolation="bicubic",
    ),
    "timm/resnet18.tv_in1k": WeightsInfo(
        hub.FILE,
        "resnet18",
        license="BSD-3-Clause",
        description="torchvision's ImageNet-1k weights",
        sha256="694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
        revision="bbd144b3e5565108aad885f145491d11bc6ce807",
    ),
    "timm/resnet152.tv_in1k": WeightsInfo(
        hub.FILE,
        "resnet152",
        license="BSD-3-Clause",
        description="torchvision's first ImageNet-1k weights",
    ),
    "timm/resnet34.tv_in1k": WeightsInfo(
        hub.FILE,
        "resnet34",
        license="BSD-3-Clause",
        description="torchvision's ImageNet-1k weights",
        sha256="0bb82595a564991a9d424708b33f5d843f5aaed7f6c0886ff10849ff97022235",
        revision="1b7b21cca82ff974d341713f777bf740c2db38c4",
    ),
    "timm/resnet101.tv_in1k": WeightsInfo(
        hub.FILE,
        "resnet101",
        license="BSD-3-Clause",
        description="torchvision's first ImageNet-1k weights",
    ),
    "microsoft/resnet-50": WeightsInfo(
        hub.FILE,
        "resnet50",
        license="Apache-2.0",
        description="ImageNet-1k weights under transformers' names",
        interpolation="bicubic",
    ),
}
"""Repository -> row, for "hf:" names that are known here; others work from their own record."""


def resolve(weights: str | Path) -> tuple[Path, WeightsInfo]:
    """The file that `weights` means, and what is known about it.

    Args:
        weights: a key of `WEIGHTS`, "hf:OWNER/NAME" (at the revision of its row in `HUB`, or the
            newest), "hf:OWNER/NAME@REVISION", or the path of a file.

    Returns:
        An existing file; its row, or one with ImageNet's mean and deviation where none is known.

    Raises:
        ValueError: unknown name, missing file, or one whose digest is not that of its row.
    """
    name = str(weights)
    if name in WEIGHTS:
        info = WEIGHTS[name]
        path = existing_file(ASSETS / info.file)
        _check_digest(path, info.sha256, "install the package again")
        return path, info
    if name.startswith(hub.PREFIX):
        return _resolve_hub(hub.parse_name(name))
    path = Path(weights).expanduser()
    if path.exists() or len(path.parts) > 1 or path.suffix in (".safetensors", *PICKLE_SUFFIXES):
        return existing_file(path), _recorded(path)
    raise ValueError(f"{unknown_name('weights', name, WEIGHTS)}\nor give a .safetensors file")


def is_here(weights: str | Path) -> bool:
    """Whether `resolve` would find the file on this disk, or it is none of a hub's.

    Raises:
        ValueError: a name of a hub that is none.
    """
    if not str(weights).startswith(hub.PREFIX):
        return True
    name = hub.parse_name(str(weights))
    row = HUB.get(name.repository)
    return hub.is_here(name, row.revision if row else "")


def _resolve_hub(name: hub.HubName) -> tuple[Path, WeightsInfo]:
    row = HUB.get(name.repository)
    path = hub.fetch(name, row.revision if row else "")
    if row is None:
        mean, std, interpolation, crop, license = hub.fetch_record(name)
        return path, WeightsInfo(
            path.name,
            mean=mean or IMAGENET_MEAN,
            std=std or IMAGENET_STD,
            license=license or "",
            interpolation=interpolation or "bilinear",
            crop=crop or 0.875,
        )
    if name.revision in ("", row.revision):
        _check_digest(path, row.sha256, "remove it, and it will be fetched again")
    return path, row


def _recorded(path: Path) -> WeightsInfo:
    """What a file's own metadata says; ImageNet's mean and deviation where it says nothing.

    Raises:
        ValueError: it says something that cannot be a mean or deviation.
    """
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError):
        return WeightsInfo(path.name)  # read.py says what is wrong with a broken file
    if not {"mean", "std"} <= metadata.keys():
        return WeightsInfo(path.name)
    found = {}
    for key in ("mean", "std"):
        try:
            found[key] = hub.rgb(json.loads(metadata[key]), 0 if key == "std" else -math.inf)
        except (ValueError, RecursionError):
            found[key] = None
        if found[key] is None:
            raise ValueError(
                f"{path}: {key} in its metadata is {metadata[key][:80]!r}, expected three numbers "
                "(of std, above 0); convert the weights again"
            )
    return WeightsInfo(path.name, metadata.get("backbone"), found["mean"], found["std"])


def _check_digest(path: Path, expected: str, fix: str) -> None:
    # A flipped bit in a safetensors file loads without complaint: the format has no checksum.
    if not expected:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ValueError(
            f"{path}: damaged, or not the file that is known here (SHA-256 {found[:12]}..., "
            f"expected {expected[:12]}...); {fix}"
        )

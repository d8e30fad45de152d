"""Known weights: the values of `model.weights`, and their preprocessing.

A value is a key of `WEIGHTS` (files in this package), "hf:OWNER/NAME" (hub.py) or a path.
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
    """Metadata of a weights file.

    Images are normalized with `mean` and `std`. `interpolation` and `crop` only record how the
    source evaluated the weights; data/decode.py resizes bilinearly and crops as the config says.
    """

    file: str  # name, inside `ASSETS` for a row of `WEIGHTS`
    backbone: str | None = None  # name in `BACKBONES`, if recorded
    mean: Rgb = IMAGENET_MEAN  # of the training images, pixels scaled to [0, 1]
    std: Rgb = IMAGENET_STD
    license: str = ""  # of the weights, which may differ from that of the code
    description: str = ""  # one line for `gtn list`
    sha256: str = ""  # hexadecimal digest of the file, verified on use unless empty
    interpolation: str = "bilinear"
    crop: float = 0.875  # side of the center square / short side of the resized image
    revision: str = ""  # commit that a row of `HUB` is pinned to; empty: the newest


WEIGHTS: dict[str, WeightsInfo] = {
    "tiny_imagenet": WeightsInfo(
        file="tiny_imagenet.safetensors",
        backbone="resnet8_wide",
        license="non-commercial research and education, as Tiny-ImageNet",
        description="resnet8_wide from scratch on Tiny-ImageNet at 32 px; card: tiny_imagenet.md",
        sha256="60c0bcf63060d8913616c53d3e382d617bf8a2347c00c4558b1922659d867864",
    ),
}
"""Files in `ASSETS`."""

# Revisions and digests are those that other public projects pin; these files have not yet been
# downloaded through this package. An empty field means that none was found. Licenses and transforms
# are those of config.json or timm's table; for microsoft/resnet-50, of the
# preprocessor_config.json in models fine-tuned from it.
HUB: dict[str, WeightsInfo] = {
    "timm/resnet50.tv_in1k": WeightsInfo(
        hub.FILE, "resnet50", license="BSD-3-Clause",
        description="torchvision's first ImageNet-1k weights, what the GTN authors start from",
        sha256="5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
        revision="78f3ecfdb38e06d9b8397f662e7ab8fee96026fa",
    ),
    "timm/resnet50.ra_in1k": WeightsInfo(
        hub.FILE, "resnet50", license="Apache-2.0", interpolation="bicubic",
        description="timm's ImageNet-1k weights with RandAugment",
    ),
    "timm/resnet18.tv_in1k": WeightsInfo(
        hub.FILE, "resnet18", license="BSD-3-Clause",
        description="torchvision's ImageNet-1k weights",
        sha256="694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
        revision="bbd144b3e5565108aad885f145491d11bc6ce807",
    ),
    "timm/resnet152.tv_in1k": WeightsInfo(
        hub.FILE, "resnet152", license="BSD-3-Clause",
        description="torchvision's first ImageNet-1k weights",
    ),
    "timm/resnet34.tv_in1k": WeightsInfo(
        hub.FILE, "resnet34", license="BSD-3-Clause",
        description="torchvision's ImageNet-1k weights",
        sha256="0bb82595a564991a9d424708b33f5d843f5aaed7f6c0886ff10849ff97022235",
        revision="1b7b21cca82ff974d341713f777bf740c2db38c4",
    ),
    "timm/resnet101.tv_in1k": WeightsInfo(
        hub.FILE, "resnet101", license="BSD-3-Clause",
        description="torchvision's first ImageNet-1k weights",
    ),
    "microsoft/resnet-50": WeightsInfo(
        hub.FILE, "resnet50", license="Apache-2.0", interpolation="bicubic",
        description="ImageNet-1k weights under transformers' names",
    ),
}  # fmt: skip
"""Repository -> known metadata; other repositories are described by their own files."""


def resolve(weights: str | Path) -> tuple[Path, WeightsInfo]:
    """The file of `weights`, and its metadata.

    Args:
        weights: a key of `WEIGHTS`, "hf:OWNER/NAME" (at the revision in `HUB`, or the newest),
            "hf:OWNER/NAME@REVISION", or a path.

    Returns:
        An existing file, and its metadata, with ImageNet's mean and std if unknown.

    Raises:
        ValueError: an unknown name, a missing file, or a digest other than the known one.
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
    """Whether `resolve` needs no download; ValueError for an invalid "hf:" name."""
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
    """A file's own metadata, with ImageNet's mean and std if it has none; ValueError if invalid."""
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError):
        return WeightsInfo(path.name)  # `read_safetensors` reports what is wrong
    if not {"mean", "std"} <= metadata.keys():
        return WeightsInfo(path.name)
    values = {}
    for key in ("mean", "std"):
        try:
            values[key] = hub.rgb(json.loads(metadata[key]), 0 if key == "std" else -math.inf)
        except (ValueError, RecursionError):
            values[key] = None
        if values[key] is None:
            raise ValueError(
                f"{path}: {key} in its metadata is {metadata[key][:80]!r}, expected three numbers "
                "(of std, above 0); convert the weights again"
            )
    return WeightsInfo(path.name, metadata.get("backbone"), values["mean"], values["std"])


def _check_digest(path: Path, expected: str, fix: str) -> None:
    # The safetensors format has no checksum: a flipped bit loads without an error.
    if not expected:
        return
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise ValueError(
            f"{path}: damaged, or not the file that is known here (SHA-256 {actual[:12]}..., "
            f"expected {expected[:12]}...); {fix}"
        )

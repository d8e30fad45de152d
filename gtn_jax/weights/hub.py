"""Weights from the Hugging Face Hub: "hf:timm/resnet50.tv_in1k" -> a local file.

huggingface_hub (https://github.com/huggingface/huggingface_hub) downloads, caches and resumes; it
is imported on use. Offline, files may be placed in `LOCAL` instead.
"""

import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from gtn_jax.data.progress import only_errors
from gtn_jax.errors import one_line

PREFIX = "hf:"
FILE = "model.safetensors"
LOCAL = Path("~/.cache/gtn_jax/weights")
"""Files placed by the user: OWNER--NAME.safetensors or OWNER--NAME--REVISION.safetensors."""

_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, in preprocessor_config.json


class HubName(NamedTuple):
    """A parsed "hf:" name."""

    repository: str  # "OWNER/NAME"
    revision: str  # commit, tag or branch; empty for the pinned or newest one


class Record(NamedTuple):
    """Preprocessing and license that a repository states; None where it states nothing."""

    mean: tuple[float, float, float] | None = None  # RGB, pixels scaled to [0, 1]
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None  # "bilinear", "bicubic", ...
    crop: float | None = None  # side of the center square / short side of the resized image
    license: str | None = None  # of the weights


def parse_name(name: str) -> HubName:
    """Parse "hf:OWNER/NAME" or "hf:OWNER/NAME@REVISION"; ValueError for another form."""
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if not match:
        raise ValueError(f"weights {name!r}: expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    return HubName(match[1], match[2] or "")


def fetch(name: HubName, pinned: str = "") -> Path:
    """The .safetensors file of a repository: from `LOCAL`, the cache or a download.

    `pinned` is the revision if `name` has none; empty for the newest.

    Raises:
        ValueError: huggingface_hub is not installed; no such repository, revision or file; or no
            connection and no local file: the message says which file to put where.
    """
    local = local_path(name)
    if local.is_file():
        return local
    revision = name.revision or pinned
    hub = _import_hub(name)
    try:
        with only_errors("huggingface_hub"):  # it logs two lines per retry
            return Path(hub.hf_hub_download(name.repository, FILE, revision=revision or None))
    except Exception as error:  # HTTP, file system and validation errors of several libraries
        if _is_offline(error):
            url = f"https://huggingface.co/{name.repository}/resolve/{revision or 'main'}/{FILE}"
            raise ValueError(
                f"hf:{name.repository}: no connection and not in the cache; bring {url} to {local}"
            ) from error
        raise ValueError(
            f"hf:{name.repository}: could not be fetched from the Hugging Face Hub: "
            f"{one_line(error)}\n"
            "check the name and the connection, or download the .safetensors file and give its path"
        ) from error


def is_here(name: HubName, pinned: str = "") -> bool:
    """Whether `fetch` needs no download."""
    if local_path(name).is_file():
        return True
    revision = name.revision or pinned or None
    cached = _import_hub(name).try_to_load_from_cache(name.repository, FILE, revision=revision)
    return isinstance(cached, str)


def local_path(name: HubName) -> Path:
    """The path of a file placed by the user."""
    parts = [*name.repository.split("/"), *([name.revision] if name.revision else [])]
    return LOCAL.expanduser() / f"{'--'.join(parts).replace('/', '--')}.safetensors"


def fetch_record(name: HubName) -> Record:
    """Read timm's config.json or transformers' preprocessor_config.json."""
    config = _fetch_json(name, "config.json").get("pretrained_cfg")
    if isinstance(config, dict):
        mean, std = rgb(config.get("mean")), rgb(config.get("std"), above=0)
        interpolation, license = (
            _typed(str, config.get(key)) for key in ("interpolation", "license")
        )
        return Record(
            mean, std, interpolation, _typed((int, float), config.get("crop_pct")), license
        )
    config = _fetch_json(name, "preprocessor_config.json")
    interpolation = _RESAMPLING.get(_typed(int, config.get("resample")) or -1)
    mean, std = rgb(config.get("image_mean")), rgb(config.get("image_std"), above=0)
    return Record(mean, std, interpolation, _typed((int, float), config.get("crop_pct")))


def _fetch_json(name: HubName, file: str) -> dict[str, Any]:
    try:
        hub = _import_hub(name)
        path = hub.hf_hub_download(name.repository, file, revision=name.revision or None)
        content = json.loads(Path(path).read_text())
    except Exception:  # a missing or invalid file is no error
        return {}
    return content if isinstance(content, dict) else {}


def _import_hub(name: HubName) -> Any:
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            f"hf:{name.repository}: needs huggingface_hub: pip install huggingface_hub"
        ) from error
    return huggingface_hub


def _is_offline(error: Exception) -> bool:
    """Whether the server did not respond, as opposed to "no such repository"."""
    kinds = {"LocalEntryNotFoundError", "TimeoutException", "NetworkError"}  # the last two: httpx
    return any(kind.__name__ in kinds for kind in type(error).__mro__)


def rgb(values: Any, above: float = -math.inf) -> tuple[float, float, float] | None:
    """Three finite numbers larger than `above` from JSON; None for anything else."""
    if not isinstance(values, list) or len(values) != 3:
        return None
    if not all(type(value) in (int, float) and above < value < math.inf for value in values):
        return None
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _typed(kind: Any, value: Any) -> Any:
    """A JSON value of this type (True is not a number), or None."""
    return value if isinstance(value, kind) and not isinstance(value, bool) else None

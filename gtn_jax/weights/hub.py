"""Weights from the Hugging Face Hub: "hf:timm/resnet50.tv_in1k" -> a file on this disk.

timm's ResNets carry torchvision's names and transformers' their own, keymaps.py reads both.
Download, cache and resume are huggingface_hub's (https://github.com/huggingface/huggingface_hub),
imported only on use. A machine without a connection reads files that were brought to `LOCAL`.
Which revision is pinned, and the digest of its file, is registry.py's.
"""

import contextlib
import json
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gtn_jax.errors import one_line

PREFIX = "hf:"
FILE = "model.safetensors"
LOCAL = Path("~/.cache/gtn_jax/weights")
"""Files brought by hand, as OWNER--NAME.safetensors (or OWNER--NAME--REVISION.safetensors)."""

_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, in preprocessor_config.json


class HubName(NamedTuple):
    """What stands behind "hf:".

    Attributes:
        repository: "OWNER/NAME".
        revision: commit, tag or branch; empty for what is pinned or newest.
    """

    repository: str
    revision: str


class Record(NamedTuple):
    """What a repository says about the images that its model was trained on; None where it is mute.

    Attributes:
        mean: RGB, pixels scaled to [0, 1].
        std: of the same.
        interpolation: "bilinear", "bicubic", ...
        crop: side of the center square / short side of the resized image.
        license: of the weights.
    """

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    crop: float | None = None
    license: str | None = None


def parse_name(name: str) -> HubName:
    """Take "hf:OWNER/NAME" or "hf:OWNER/NAME@REVISION" apart.

    Raises:
        ValueError: another form.
    """
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if not match:
        raise ValueError(f"weights {name!r}: expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    return HubName(match[1], match[2] or "")


def fetch(name: HubName, pinned: str = "") -> Path:
    """The .safetensors file of a repository: brought by hand, from the cache, or downloaded.

    Args:
        name: from `parse_name`.
        pinned: revision to take where `name` has none; empty takes the newest.

    Raises:
        ValueError: huggingface_hub absent; no such repository, revision or file; or no connection
            and the file neither in the cache nor in `LOCAL`: one line says what to bring where.
    """
    local = local_path(name)
    if local.is_file():
        return local
    revision = name.revision or pinned
    hub = _import_hub(name)
    try:
        with _without_warnings():
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


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Each of five tries would be told in two lines; what came of them is said once."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def is_here(name: HubName, pinned: str = "") -> bool:
    """Whether `fetch` finds the file on this disk: brought by hand, or in the cache."""
    if local_path(name).is_file():
        return True
    revision = name.revision or pinned or None
    found = _import_hub(name).try_to_load_from_cache(name.repository, FILE, revision=revision)
    return isinstance(found, str)


def local_path(name: HubName) -> Path:
    """Where a file that is brought by hand is looked for."""
    parts = [*name.repository.split("/"), *([name.revision] if name.revision else [])]
    return LOCAL.expanduser() / f"{'--'.join(parts).replace('/', '--')}.safetensors"


def fetch_record(name: HubName) -> Record:
    """What timm's config.json or transformers' preprocessor_config.json of a repository says."""
    config = _fetch_json(name, "config.json").get("pretrained_cfg")
    if isinstance(config, dict):
        return Record(
            rgb(config.get("mean")),
            rgb(config.get("std"), above=0),
            _of(str, config.get("interpolation")),
            _of((int, float), config.get("crop_pct")),
            _of(str, config.get("license")),
        )
    config = _fetch_json(name, "preprocessor_config.json")
    interpolation = _RESAMPLING.get(_of(int, config.get("resample")) or -1)
    mean, std = rgb(config.get("image_mean")), rgb(config.get("image_std"), above=0)
    return Record(mean, std, interpolation, _of((int, float), config.get("crop_pct")))


def _fetch_json(name: HubName, file: str) -> dict[str, Any]:
    try:
        hub = _import_hub(name)
        path = hub.hf_hub_download(name.repository, file, revision=name.revision or None)
        found = json.loads(Path(path).read_text())
    except Exception:  # a repository without it, or one of other contents, has just no record
        return {}
    return found if isinstance(found, dict) else {}


def _import_hub(name: HubName) -> Any:
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            f"hf:{name.repository}: needs huggingface_hub: pip install huggingface_hub"
        ) from error
    return huggingface_hub


def _is_offline(error: Exception) -> bool:
    """Whether nothing answered, as opposed to an answer like "no such repository"."""
    silent = {"LocalEntryNotFoundError", "TimeoutException", "NetworkError"}  # the last two: httpx
    return any(kind.__name__ in silent for kind in type(error).__mro__)


def rgb(values: Any, above: float = -math.inf) -> tuple[float, float, float] | None:
    """Three numbers of somebody's JSON, finite and larger than `above`; None for anything else."""
    if not isinstance(values, list) or len(values) != 3:
        return None
    if not all(type(value) in (int, float) and above < value < math.inf for value in values):
        return None
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _of(kind: Any, value: Any) -> Any:
    """A value of somebody's JSON, if it is of this kind (True is not a number); else None."""
    return value if isinstance(value, kind) and not isinstance(value, bool) else None

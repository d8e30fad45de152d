"""Weights from the Hugging Face Hub: "hf:timm/resnet50.tv_in1k" -> a file in its cache.

timm's ResNets carry torchvision's names, so keymaps.py reads them. Download, cache and resume
are huggingface_hub's (https://github.com/huggingface/huggingface_hub), imported only on use.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

PREFIX = "hf:"


class Fetched(NamedTuple):
    """A downloaded file and what its repository says about the images it was trained on.

    Attributes:
        path: of the .safetensors file.
        mean: RGB, pixels scaled to [0, 1]; None if not recorded.
        std: of the same.
    """

    path: Path
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None


def fetch(name: str) -> Fetched:
    """Download model.safetensors of a Hub repository, or find it in the cache.

    Args:
        name: "hf:OWNER/NAME" or, pinned, "hf:OWNER/NAME@REVISION".

    Raises:
        ValueError: huggingface_hub absent, a malformed name, no such repository or file, or no
            connection and nothing in the cache.
    """
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(f"{name}: needs huggingface_hub: pip install huggingface_hub") from error
    try:
        path = huggingface_hub.hf_hub_download(
            repository, "model.safetensors", revision=revision or None
        )
    except Exception as error:  # HTTP, file system and validation errors of several libraries
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(
            f"{name}: could not be fetched from the Hugging Face Hub: {reason}\n"
            "check the name and the connection, or download the .safetensors file and give its path"
        ) from error
    try:
        config = huggingface_hub.hf_hub_download(
            repository, "config.json", revision=revision or None
        )
        pretrained = json.loads(Path(config).read_text()).get("pretrained_cfg", {})
    except Exception:  # a repository without it, or one of other contents, has just no record
        pretrained = {}
    return Fetched(Path(path), _rgb(pretrained.get("mean")), _rgb(pretrained.get("std")))


def _rgb(values: Any) -> tuple[float, float, float] | None:
    if not isinstance(values, list) or len(values) != 3:
        return None
    red, green, blue = (float(value) for value in values)
    return red, green, blue

"""A run -> a state dict that the authors' PyTorch model loads with strict=True.

Their model is model/GTN.py of https://github.com/jiaxue-ai/GTN; names and layouts are
weights/keymaps.py's. Needs the extra `torch`, as a state dict is PyTorch's own format.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gtn_jax.config import ModelConfig
from gtn_jax.errors import ArgumentError
from gtn_jax.files import replacing
from gtn_jax.inference.restore import restore
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.runs.folder import RunFolder
from gtn_jax.weights.keymaps import to_authors
from gtn_jax.weights.read import import_torch

FILE = "gtn.pth"
CLASSES_FILE = "classes.txt"


class Exported(NamedTuple):
    """What `export_torch` wrote.

    Attributes:
        path: of the state dict.
        tensors: how many it holds.
    """

    path: Path
    tensors: int


def export_torch(workdir: Path, out: Path) -> Exported:
    """Write `gtn.pth`, the state dict, and `classes.txt`, a name a line, into a new folder.

    `num_batches_tracked`, which PyTorch's BatchNorm counts and never uses with a fixed momentum,
    is 0, or what it was in the checkpoint that the run was converted from.

    Args:
        workdir: run folder.
        out: must not exist, or be empty.

    Raises:
        ValueError: no torch, no run there, a model that theirs cannot hold, or `out` is in use.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArgumentError("out", f"{out} exists already; remove it or choose another folder")
    torch = import_torch(out / FILE)
    check_authors_model(RunFolder(workdir).config().model, workdir)
    run = restore(workdir)
    tensors = to_authors(run.variables)
    counters = _counters(workdir)
    for name in [name for name in tensors if name.endswith(".running_var")]:
        counter = f"{name.removesuffix('running_var')}num_batches_tracked"
        tensors[counter] = np.array(counters.get(counter, 0), np.int64)
    out.mkdir(parents=True, exist_ok=True)
    (out / CLASSES_FILE).write_text("\n".join(run.classes) + "\n", encoding="utf-8")
    with replacing(out / FILE) as partial:
        torch.save({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, partial)
    return Exported(out / FILE, len(tensors))


def check_authors_model(model: ModelConfig, workdir: Path) -> None:
    """Refuse a run whose function the authors' model does not compute.

    Raises:
        ValueError: the first field that differs, and what their model has.
    """
    backbone = BACKBONES.get(model.backbone)
    if not isinstance(backbone, ResNetShape):
        raise ValueError(f"{workdir}: {model.backbone} is not a ResNet, the authors' model is")
    stages = model.stages or len(backbone.blocks_per_stage)
    for field, found, theirs, fits in (
        ("gate", model.gate, "sigmoid", model.gate == "sigmoid"),
        ("aux_weight", model.aux_weight, "an auxiliary classifier", model.aux_weight > 0),
        ("classifier_bias", model.classifier_bias, "no bias", not model.classifier_bias),
        ("stages", stages, "4 stages", stages == 4),
        ("backbone", model.backbone, "an ImageNet ResNet", backbone.stem == "imagenet"),
    ):
        if not fits:
            raise ValueError(
                f"{workdir}: model.{field} is {found}, the authors' model has {theirs}; backbone "
                "and classifier alone go into a file with: gtn convert RUN FILE.safetensors"
            )


def _counters(workdir: Path) -> dict[str, int]:
    return (RunFolder(workdir).source() or {}).get("num_batches_tracked", {})

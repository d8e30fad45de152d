"""Export of a run under PyTorch's names and layouts (weights/keymaps.py).

`export_torch` writes a state dict that the authors' model (model/GTN.py of
https://github.com/jiaxue-ai/GTN) loads with strict=True, and needs the extra `torch`.
`save_backbone` writes backbone and classifier as safetensors, as pretrained weights.
"""

import json
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from gtn_jax.config import ModelConfig
from gtn_jax.errors import ArgumentError
from gtn_jax.files import replacing
from gtn_jax.inference.restore import restore
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.runs.folder import RunFolder
from gtn_jax.weights.keymaps import to_authors, to_torchvision
from gtn_jax.weights.read import import_torch
from gtn_jax.weights.write import check_new_file, write_safetensors

Precision = Literal["float32", "float16"]
FILE = "gtn.pth"
CLASSES_FILE = "classes.txt"


class Exported(NamedTuple):
    """Path of the state dict, and its number of tensors."""

    path: Path
    tensors: int


def export_torch(workdir: Path, out: Path) -> Exported:
    """Write `gtn.pth`, the state dict, and `classes.txt`, one name per line, into a new folder.

    `num_batches_tracked`, which BatchNorm does not use with a fixed momentum, is 0 or its value in
    the checkpoint that the run was converted from.

    Raises:
        ValueError: no torch, no run, a model that the authors' cannot represent, or `out` in use.
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
    """Refuse, by a ValueError, a run that the authors' model cannot represent."""
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


def save_backbone(workdir: Path, destination: Path, precision: Precision = "float32") -> int:
    """Write the selected backbone and classifier as .safetensors, and return the number of tensors.

    Mean and standard deviation of the images are in the metadata. `precision` applies to kernels;
    float16 halves the file and is converted back when read.

    Raises:
        ValueError: no run, or `destination` exists, is not .safetensors or not writable.
    """
    check_new_file(destination)
    run = restore(workdir)
    tensors = {
        name: tensor.astype(precision if tensor.ndim > 1 else np.float32)
        for name, tensor in to_torchvision(run.variables).items()
    }
    mean, std = run.preprocessing
    metadata = {"backbone": run.config.model.backbone, "mean": json.dumps(mean)}
    write_safetensors(tensors, destination, metadata | {"std": json.dumps(std)})
    return len(tensors)

"""A run -> its backbone and classifier as one safetensors file, to be pretrained weights for
others.

Names and layouts are torchvision's (weights/keymaps.py), so other tools read the file too. Mean
and std of the images travel in its metadata.
"""

import json
from pathlib import Path
from typing import Literal

import numpy as np

from gtn_jax.inference.restore import restore
from gtn_jax.weights.keymaps import to_torchvision
from gtn_jax.weights.write import check_new_file, write_safetensors

Precision = Literal["float32", "float16"]


def save_backbone(workdir: Path, destination: Path, precision: Precision = "float32") -> int:
    """Write the selected weights of a run; gate and auxiliary classifier are left out.

    Args:
        workdir: run folder.
        destination: the .safetensors file; must not exist.
        precision: of kernels; biases and BatchNorm stay float32. float16 halves the file and is
            widened when read.

    Returns:
        Number of tensors.

    Raises:
        ValueError: no run there, or the destination exists, is no .safetensors file or cannot be
            written.
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

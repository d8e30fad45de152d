"""A run -> its trunk and classifier as one safetensors file, to be pretrained weights for others.

Names and layouts are torchvision's (weights/keymaps.py), so other tools read the file too.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import save_file

from gtn_jax.inference.restore import restore
from gtn_jax.weights.keymaps import to_torchvision

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
        ValueError: no run there, or the destination exists or is no .safetensors file.
    """
    if destination.suffix != ".safetensors":
        raise ValueError(f"{destination}: expected a name ending in .safetensors")
    if destination.exists():
        raise ValueError(f"{destination} exists; choose another name or remove it first")
    tensors = {
        name: tensor.astype(precision if tensor.ndim > 1 else np.float32)
        for name, tensor in to_torchvision(restore(workdir).variables).items()
    }
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(destination.name + ".tmp")
    save_file(tensors, temporary)
    temporary.replace(destination)
    return len(tensors)

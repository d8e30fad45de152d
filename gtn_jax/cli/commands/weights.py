"""The verb that brings weights in: convert."""

import argparse
from pathlib import Path
from typing import Literal

import tyro

from gtn_jax.cli.arguments import parse
from gtn_jax.cli.terminal import say
from gtn_jax.config import Config

Positional = tyro.conf.Positional


def convert(arguments: list[str]) -> None:
    """Turn a PyTorch checkpoint or a run into weights, or the authors' checkpoint into a run."""

    def form(
        source: Positional[Path],
        destination: Positional[Path],
        precision: Literal["float32", "float16"] = "float32",
        classes: Path | None = None,
        data: str = "none",
        data_dir: str = Config().data.data_dir,
        images: Path | None = None,
        image_size: int = 224,
    ) -> argparse.Namespace:
        """Convert weights.

        Example: gtn convert resnet50.pth resnet50.safetensors

        Args:
            source: a .pth, .pt or .th file that holds a state dict (needs the extra `torch`), or
                a run folder, of which backbone and classifier are taken.
            destination: a .safetensors file to write; or, from a checkpoint of the GTN authors'
                script, a run folder.
            precision: of the kernels of a run.
            classes: for a run folder: text file, a class name a line, in label order.
            data: for a run folder: the data set that `gtn evaluate` shall use.
            data_dir: for a run folder: folder of prepared data sets.
            images: for weights with BatchNorm folded in: folder of images to measure it on.
            image_size: side of those images in pixels.
        """
        return argparse.Namespace(**locals())

    given = parse(form, "gtn convert", arguments)
    if given.source.is_dir():
        from gtn_jax.inference.backbone import save_backbone

        count = save_backbone(given.source, given.destination, given.precision)
        say(f"{given.destination}: {count} tensors")
    elif given.images is not None:
        from gtn_jax.weights.restore_batch_norm import unfold_file

        count = unfold_file(given.source, given.destination, given.images, given.image_size)
        say(f"{given.destination}: BatchNorm measured on {count} images")
    elif given.destination.suffix == ".safetensors":
        from gtn_jax.weights.convert import convert as convert_file

        converted = convert_file(given.source, given.destination)
        for line in converted.notes:
            say(f"note    {line}")
        say(f"{converted.path}: {converted.tensors} tensors; dropped {len(converted.dropped)}")
    else:
        from gtn_jax.inference.import_checkpoint import adopt

        run = adopt(given.source, given.destination, given.classes, given.data, given.data_dir)
        say(f"{run.path}: a run of {run.backbone} with {run.classes} classes")

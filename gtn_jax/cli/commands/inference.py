"""Commands that use a run or weights: evaluate, predict, export, convert."""

import json
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from gtn_jax.cli.arguments import command
from gtn_jax.cli.terminal import (
    Counting,
    aside,
    name_devices,
    print_error,
    say,
    set_up_process,
    show,
)
from gtn_jax.config import Config


@command("evaluate")
def evaluate(
    run: Positional[Path], split: str = "test", data: str | None = None, data_dir: str | None = None
) -> None:
    """Evaluate the selected weights of a run on a split of its data set.

    Standard output is JSON; accuracy by class is on standard error.

    Example: gtn evaluate runs/first --split test

    Args:
        run: run folder.
        split: test, validation or train.
        data: a data set with the same classes; default: the run's own.
        data_dir: folder of prepared data sets; default: the run's own.
    """
    set_up_process()
    name_devices()
    from gtn_jax.analysis.answers import in_lines
    from gtn_jax.inference.restore import judge_run

    judged = judge_run(run, split, data, data_dir)
    say(json.dumps({"split": split, **judged.figures}, indent=2))
    for line in in_lines(split, judged.predictions, judged.classes):
        aside(line)


@command("predict")
def predict(
    run: Positional[Path],
    paths: Positional[tuple[Path, ...]],
    topk: int = 3,
    out: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Classify image files with the selected weights of a run.

    Example: gtn predict runs/first photos --topk 3 --out answers.csv

    Args:
        run: run folder.
        paths: image files, folders of them, and patterns ("photos/**/*.jpg").
        topk: number of classes per file.
        out: .csv or .json file to write, instead of printing a table.
        overwrite: replace `out` if it exists.
    """
    from gtn_jax.inference import predict as prediction

    if out is not None:
        prediction.check_out(out, overwrite)
    set_up_process()
    name_devices()
    with Counting("files") as counting:
        good, bad = prediction.predict_paths(run, paths, topk, print_error, counting.show)
    if out is not None:
        prediction.write_predictions(good, out)
        say(f"{out}: {len(good)} files")
    elif good:
        show(prediction.prediction_table(good))
    if bad:
        others = "; the others were" if good else ""
        raise ValueError(f"{bad} of {len(good) + bad} could not be predicted{others}")


@command("export")
def export(
    run: Positional[Path], out: Path, to: Literal["stablehlo", "torch"] = "stablehlo"
) -> None:
    """Export a run for use without this package, or as the authors' model.

    Example: gtn export runs/first --out classifier

    Args:
        run: run folder.
        out: folder to write; new or empty.
        to: stablehlo, a folder that works without this package (needs the extra `export`);
            torch, a state dict for the GTN authors' model (needs the extra `torch`).
    """
    set_up_process()
    name_devices()
    if to == "torch":
        from gtn_jax.inference.torch_export import export_torch

        exported = export_torch(run, out)
        say(f"{exported.path}: {exported.tensors} tensors")
    else:
        from gtn_jax.inference.portable import export_portable

        portable = export_portable(run, out)
        for name, size in portable.files.items():
            say(f"{out / name}: {size:,} bytes")
        say(f"read back: probabilities within {portable.largest_difference:.1e} of the run's")


@command("convert")
def convert(
    source: Positional[Path],
    destination: Positional[Path],
    precision: Literal["float32", "float16"] = "float32",
    classes: Path | None = None,
    data: str = "none",
    data_dir: str = Config().data.data_dir,
    images: Path | None = None,
    image_size: int = 224,
) -> None:
    """Convert a PyTorch checkpoint or a run to weights, or the authors' checkpoint to a run.

    Example: gtn convert resnet50.pth resnet50.safetensors

    Args:
        source: .pth, .pt or .th file with a state dict (needs the extra `torch`), or a run
            folder, whose backbone and classifier are converted.
        destination: .safetensors file to write; for a checkpoint of the GTN authors' script
            also a run folder.
        precision: of the kernels of a run.
        classes: for a run folder: text file, one class name per line, in label order.
        data: for a run folder: data set for `gtn evaluate`.
        data_dir: for a run folder: folder of prepared data sets.
        images: for weights with folded BatchNorm: folder of images for its statistics.
        image_size: side of those images in pixels.
    """
    if source.is_dir():
        from gtn_jax.inference.torch_export import save_backbone

        count = save_backbone(source, destination, precision)
        say(f"{destination}: {count} tensors")
    elif images is not None:
        from gtn_jax.weights.restore_batch_norm import unfold_file

        count = unfold_file(source, destination, images, image_size)
        say(f"{destination}: BatchNorm measured on {count} images")
    elif destination.suffix == ".safetensors":
        from gtn_jax.weights.convert import convert as convert_file

        converted = convert_file(source, destination)
        for line in converted.notes:
            say(f"note    {line}")
        say(f"{converted.path}: {converted.tensors} tensors; dropped {len(converted.dropped)}")
    else:
        from gtn_jax.inference.import_checkpoint import import_checkpoint

        run = import_checkpoint(source, destination, classes, data, data_dir)
        say(f"{run.path}: a run of {run.backbone} with {run.classes} classes")

"""Import a checkpoint of the authors' script as a run folder, for evaluation and prediction.

Their script (https://github.com/jiaxue-ai/GTN, `experiments/*/train.py`) writes a dict with
`state_dict`, all names under "module.", for ResNet-50 with the sigmoid gate. Class names and data
are not recorded and so are arguments. PyTorch's counters are kept in `source.json`, the optimizer
state is not: an imported run is finished and cannot be resumed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gtn_jax.arrays import Variables
from gtn_jax.config import Config, override
from gtn_jax.config.presets import official
from gtn_jax.files import new_folder, write_text
from gtn_jax.models.gtn import variable_shapes
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import SOURCE, Preprocessing, RunFolder
from gtn_jax.training.setup import build_module, setup_of
from gtn_jax.weights.keymaps import detect_family, is_ignored, strip_module
from gtn_jax.weights.port import port
from gtn_jax.weights.read import existing_file, read_pickle
from gtn_jax.weights.recognize import similar
from gtn_jax.weights.registry import IMAGENET_MEAN, IMAGENET_STD


class ImportedCheckpoint(NamedTuple):
    """Run folder, name in `BACKBONES` and number of classes of an imported checkpoint."""

    path: Path
    backbone: str
    classes: int


def import_checkpoint(
    src: Path, dst: Path, classes_file: Path | None, data: str, data_dir: str
) -> ImportedCheckpoint:
    """Write a run folder with the weights of a checkpoint; it appears complete or not at all.

    Images are normalized with ImageNet's mean and standard deviation, at 224 x 224 pixels.

    Args:
        src: .pth that their script wrote, or that `export_torch` did.
        dst: the run folder; must not exist, or be empty.
        classes_file: text file, one class name per line, in label order.
        data: name of the data set to evaluate on, or `restore.NO_DATA`.
        data_dir: folder of prepared data sets.

    Raises:
        ValueError: `src` unreadable, of another model or with tensors of other shapes; no class
            names or a wrong number of them; `dst` in use.
    """
    check_new_folder(dst)
    if classes_file is None:
        raise ValueError(f"{src} holds no class names: give them, one a line: `classes_file=FILE`")
    tensors = read_pickle(src)
    if detect_family(tensors) != "gtn_authors":
        raise ValueError(
            f"{src}: not a checkpoint of the GTN authors' script (no feature_extract.0.weight); "
            "to make weights of it, name a destination that ends in .safetensors"
        )
    config = override(_model_config(tensors, src), {"data.name": data, "data.data_dir": data_dir})
    classes = read_classes(classes_file, len(_tensor(tensors, "classify.1.weight", src)))
    model = build_module(config, len(classes))
    variables = port(tensors, variable_shapes(model), heads="load", source=str(src))
    preprocessing = Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    write_run(dst, config, classes, preprocessing, variables, _source(src, tensors))
    return ImportedCheckpoint(dst, config.model.backbone, len(classes))


def read_classes(path: Path, expected: int) -> tuple[str, ...]:
    """Read class names from a text file, one per line, in label order.

    Raises:
        ValueError: no such file, not text, a wrong number of names, an empty or repeated one.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as text ({error})") from error
    names = tuple(line.strip() for line in lines)
    if len(names) != expected:
        raise ValueError(f"{path}: {len(names)} names for {expected} classes")
    for number, name in enumerate(names, 1):
        if not name or names.index(name) != number - 1:
            found = f"{name!r} again" if name else "an empty line"
            raise ValueError(f"{path}, line {number}: {found}; names must differ")
    return names


def _model_config(tensors: Mapping[str, np.ndarray], src: Path) -> Config:
    """The authors' model, with the backbone and gate width of the checkpoint."""
    backbone = similar({name: tensor.shape for name, tensor in tensors.items()}, "gtn_authors")
    # For an unknown backbone, `port` reports the differences in detail.
    hidden, features = _tensor(tensors, "fc.0.weight", src).shape
    return override(
        official(override(Config(), {"data.image_size": 224})),
        {
            "model.backbone": backbone.backbone if backbone else "resnet50",
            "model.gate_reduction": max(1, features // hidden),
        },
    )


def _tensor(tensors: Mapping[str, np.ndarray], name: str, src: Path) -> np.ndarray:
    for key, tensor in tensors.items():
        if strip_module(key) == name and tensor.ndim == 2 and tensor.size:
            return tensor
    raise ValueError(f"{src}: no matrix {name}; is it a checkpoint of the GTN authors' script?")


def _source(src: Path, tensors: Mapping[str, np.ndarray]) -> dict:
    counters = {strip_module(name): int(t) for name, t in tensors.items() if is_ignored(name)}
    digest = hashlib.sha256(existing_file(src).read_bytes()).hexdigest()
    return {"file": src.name, "sha256": digest, "num_batches_tracked": counters}


def check_new_folder(dst: Path) -> None:
    """Refuse a folder that is not empty or has no parent, by a ValueError."""
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise ValueError(f"{dst}: exists already; remove it, or name another folder to write")
    if not dst.parent.is_dir():
        raise ValueError(f"{dst.parent}: no such folder; make it first")


def write_run(
    dst: Path,
    config: Config,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    variables: Variables,
    source: dict[str, Any],
) -> None:
    """Write a finished run with `variables` at step 0; it appears complete or not at all.

    `source` is the content of `SOURCE`; the summary includes its `file`.
    """
    state = setup_of(config, classes, preprocessing).state(variables)
    with new_folder(dst) as partial:
        folder = RunFolder(partial)
        folder.start(config, classes, preprocessing)
        with Checkpoints(folder.checkpoints, config=config, classes=classes) as checkpoints:
            checkpoints.save(state, {"converted": True})
        write_text(folder.path / SOURCE, json.dumps(source, indent=2) + "\n")
        # The checkpoint does not record the number of steps.
        folder.finish({"selected_step": 0, "converted_from": source["file"]})

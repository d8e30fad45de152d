"""Export of a run as a folder that works without this package.

`model.stablehlo` is a `jax.export` function (https://docs.jax.dev/en/latest/export/export.html)
from pixels to probabilities, for CPU, CUDA and TPU and any batch size. JAX guarantees to load it
for six months; `model.safetensors`, the parameters under the names of the modules, does not expire.
The folder also has `labels.json`, `preprocessing.json`, `README.md` (the model card), `predict.py`,
which needs JAX, NumPy, Pillow and flatbuffers, and digests of all files. Needs the extra `export`.
"""

import contextlib
import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors import safe_open

from gtn_jax.arrays import Variables
from gtn_jax.config import Config, override
from gtn_jax.config.serialization import from_tree, to_json
from gtn_jax.data.augment import evaluation_transform
from gtn_jax.files import new_folder
from gtn_jax.inference.import_checkpoint import check_new_folder
from gtn_jax.inference.restore import Restored, restore
from gtn_jax.runs import digests
from gtn_jax.runs.folder import RunFolder
from gtn_jax.runs.provenance import PACKAGES, versions
from gtn_jax.training.forward_steps import make_forward
from gtn_jax.training.setup import build_module
from gtn_jax.weights.hub import PREFIX
from gtn_jax.weights.read import read_safetensors
from gtn_jax.weights.registry import HUB, WEIGHTS
from gtn_jax.weights.write import write_safetensors

PLATFORMS = ("cpu", "cuda", "tpu")
FUNCTION, NUMBERS = "model.stablehlo", "model.safetensors"
SCRIPT = '''"""python predict.py IMAGE...: class names and probabilities. Does not need gtn_jax."""
import hashlib, json, pathlib, sys
import jax.export, numpy as np
from PIL import Image, ImageOps

here, names, files = pathlib.Path(__file__).parent, ["digests.json"], {}
for name in names:
    try:  # a flipped bit would change predictions silently
        content = files[name] = (here / name).read_bytes()
        if name == "digests.json":
            known = json.loads(content)
            wanted, content = known.pop("sha256"), json.dumps(known).encode()
            names += [file for file in known["files"] if file != "README.md"]  # may be edited
        else:
            wanted = known["files"][name]["sha256"]
        sound = hashlib.sha256(content).hexdigest() == wanted
    except Exception:
        sound = False
    if not sound:
        sys.exit(f"error: {here / name} is missing or has changed; put it back from a copy")
function = jax.export.deserialize(bytearray(files["model.stablehlo"]))
labels, how = (json.loads(files[name]) for name in ("labels.json", "preprocessing.json"))
side, short = how["image_size"], how["resize_size"]
for file in sys.argv[1:]:
    image = ImageOps.exif_transpose(Image.open(file)).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image = image.resize([int(short * n / min(image.size)) for n in image.size], Image.BILINEAR)
    left, top = (round((length - side) / 2) for length in image.size)
    pixels = np.asarray(image)[None, top : top + side, left : left + side]
    row = np.asarray(function.call(pixels))[0]
    print(file, *(f"{labels[i]} {row[i]:.4f}" for i in np.argsort(-row)[:3]), sep="\\t")
'''


class Portable(NamedTuple):
    """Folder, sizes of its files, and largest difference to the run's probabilities."""

    path: Path
    files: dict[str, int]
    largest_difference: float


def export_portable(workdir: Path, out: Path) -> Portable:
    """Write the folder; it appears complete and verified, or not at all.

    Args:
        workdir: run folder.
        out: must not exist, or be empty.

    Raises:
        ValueError: no run, no flatbuffers, `out` in use, or an exported function that differs from
            the run.
    """
    out = out.absolute()  # "." has no name and no parent
    check_new_folder(out)
    if importlib.util.find_spec("flatbuffers") is None:
        raise ValueError(f'{out / FUNCTION} needs flatbuffers: pip install "gtn_jax[export]"')
    run = restore(workdir)
    variables = jax.device_get(run.variables)
    exported = _exported(run, variables).serialize()
    difference = _check(run, exported)
    with new_folder(out) as partial:
        (partial / FUNCTION).write_bytes(exported)
        metadata = {"format": "gtn_jax", "config": to_json(_without_paths(run.config))}
        write_safetensors(flat_tensors(variables), partial / NUMBERS, metadata)
        data = run.config.data
        for name, value in (
            ("labels.json", run.classes),
            ("preprocessing.json", {
                "image_size": data.evaluation_size,
                "resize_size": data.resize_size or data.image_size,
                "resize": "short side, bilinear; then a center crop",
                "input": "uint8 B H W 3, RGB; the function applies the mean and std below",
                **run.preprocessing._asdict(),
            }),
        ):  # fmt: skip
            text = json.dumps(value, indent=2, ensure_ascii=False)
            (partial / name).write_text(text + "\n", encoding="utf-8")
        (partial / "predict.py").write_text(SCRIPT, encoding="utf-8")
        parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
        summary = RunFolder(workdir).summary() or {}
        words = card(_without_paths(run.config), run.classes, summary, parameters, PLATFORMS)
        (partial / "README.md").write_text(words, encoding="utf-8")
        names = sorted(file.name for file in partial.iterdir())
        digests.write(partial, {name: digests.of_file(partial / name, name) for name in names})
    files = {file.name: file.stat().st_size for file in sorted(out.iterdir())}
    return Portable(out, files, difference)


def flat_tensors(variables: Variables) -> dict[str, np.ndarray]:
    """Nested dicts of arrays -> {"params.backbone.conv1.kernel": array, ...}."""
    flat: dict[str, Any] = traverse_util.flatten_dict(variables, sep=".")
    return {name: np.ascontiguousarray(array) for name, array in flat.items()}


def _without_paths(config: Config) -> Config:
    kind, _, path = config.data.name.partition(":")
    name = f"{kind}:{Path(path).name}" if path else kind
    weights = config.model.weights
    if weights and weights.endswith(".safetensors"):
        weights = Path(weights).name
    fields = {"data.name": name, "data.data_dir": Config().data.data_dir, "model.weights": weights}
    return override(config, fields)


def _probabilities(run: Restored, variables: Variables) -> Any:
    """uint8 pixels B H W 3 -> float32 B N; jitted."""
    transform = evaluation_transform(*run.preprocessing)
    forward = make_forward(run.model, transform, run.config.data.mirror_evaluation)
    return jax.jit(lambda pixels: jax.nn.softmax(forward(variables, pixels).logits))


def _exported(run: Restored, variables: Variables) -> jax.export.Exported:
    side = run.config.data.evaluation_size
    (images,) = jax.export.symbolic_shape("images")
    shape = jax.ShapeDtypeStruct((images, side, side, 3), jnp.uint8)
    return jax.export.export(_probabilities(run, variables), platforms=PLATFORMS)(shape)


def _check(run: Restored, exported: bytearray) -> float:
    side = run.config.data.evaluation_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    actual = np.asarray(jax.export.deserialize(exported).call(pixels))
    expected = np.asarray(_probabilities(run, run.variables)(pixels))
    difference = float(np.abs(actual - expected).max())
    allowed = 1e-4 if run.config.model.compute_dtype == "float32" else 2e-2
    if not difference <= allowed:
        raise ValueError(f"the exported function differs from the run by {difference:.2g}")
    return difference


def load_portable(folder: str | Path) -> tuple[Any, Variables, tuple[str, ...]]:
    """Load the model of an exported folder from `model.safetensors`.

    Returns:
        GTN, variables for `model.apply` (float32), class names in label order.

    Raises:
        ValueError: not an exported folder, or a file that has changed.
    """
    path, labels = Path(folder) / NUMBERS, Path(folder) / "labels.json"
    for file in (path, labels):
        with contextlib.suppress(OSError):  # reported below
            digests.read_file(file)
    tensors = read_safetensors(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata() or {}
    if metadata.get("format") != "gtn_jax" or not labels.is_file():
        raise ValueError(f"{folder}: not a folder of `gtn export`")
    config = from_tree(json.loads(metadata["config"]), str(path))
    classes = tuple(json.loads(labels.read_text(encoding="utf-8")))
    variables = traverse_util.unflatten_dict(tensors, sep=".")
    return build_module(config, len(classes)), jax.tree.map(jnp.asarray, variables), classes


_CARD = """# An image classifier with {count} classes

{backbone} with gate `{gate}`, {parameters:,} parameters, trained with gtn_jax on `{data}`.
Classes: {names}.

| split | accuracy | images |
|---|---|---|
{figures}

Weights selected by `{select}`; accuracy on the split used for selection is slightly optimistic.

- **Initialized from** {weights}. License of those weights: {license}.
- **Input**: uint8 RGB, {side} x {side} pixels, cropped as in `preprocessing.json`. The
  function applies mean and standard deviation.
- **Output**: probabilities in the order of `labels.json`. One of these classes is predicted
  for any image, including images of none of them.
- **Not evaluated**: accuracy on images from other sources, and differences between groups.

## Use

    pip install jax numpy pillow flatbuffers
    python predict.py IMAGE...

`model.stablehlo` runs on {platforms} and takes batches of any size. It was written by JAX
{jax_version} and may not load a year from now. `model.safetensors` will: it has the names of the
modules, and the run's config in its header. gtn_jax reads it:

    from gtn_jax.inference.portable import load_portable
    model, variables, labels = load_portable("THIS FOLDER")

Written with {versions}.
"""


def card(
    config: Config,
    classes: tuple[str, ...],
    summary: dict[str, Any],
    parameters: int,
    platforms: tuple[str, ...],
) -> str:
    """The model card, in Markdown.

    `config` has no paths of this machine; accuracies missing from `summary` are left out.
    """
    weights = config.model.weights
    known = {**WEIGHTS, **{PREFIX + name: info for name, info in HUB.items()}}
    license = known[weights].license if weights in known else ""
    figures = [
        f"| {split} | {100 * summary[f'{split}_accuracy']:.2f} % | {summary[f'{split}_images']:,} |"
        for split in ("validation", "test")
        if f"{split}_accuracy" in summary
    ]
    return _CARD.format(
        count=len(classes),
        backbone=config.model.backbone,
        gate=config.model.gate,
        parameters=parameters,
        data=config.data.name,
        names=", ".join(classes[:20]) + (", ..." if len(classes) > 20 else ""),
        figures="\n".join(figures) or "| none evaluated | | |",
        select=config.training.select,
        weights=f"the weights `{weights}`" if weights else "random initialization",
        license=license or ("see their source" if weights else "yours"),
        side=config.data.evaluation_size,
        platforms=", ".join(platforms),
        jax_version=jax.__version__,
        versions=", ".join(
            f"{name} {version}" for name, version in versions(PACKAGES).items() if version
        ),
    )

"""A run -> a folder that works without this package: a compiled function, its numbers, a card.

`model.stablehlo` is `jax.export`'s (https://docs.jax.dev/en/latest/export/export.html): pixels to
probabilities, for CPU, CUDA and TPU, of any number of images. JAX promises to read it for six
months; `model.safetensors`, the same numbers under the names of the modules, does not expire.
`labels.json`, `preprocessing.json`, `README.md` (the card), `predict.py`, which needs JAX, NumPy,
Pillow and flatbuffers only, and the digests of all of them go along. Needs the extra `export`.
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
from gtn_jax.training.programs import build_module
from gtn_jax.weights.hub import PREFIX
from gtn_jax.weights.read import read_safetensors
from gtn_jax.weights.registry import HUB, WEIGHTS
from gtn_jax.weights.write import write_safetensors

PLATFORMS = ("cpu", "cuda", "tpu")
FUNCTION, NUMBERS = "model.stablehlo", "model.safetensors"
SCRIPT = '''"""python predict.py IMAGE...: class names and probabilities. No gtn_jax here."""
import hashlib, json, pathlib, sys
import jax.export, numpy as np
from PIL import Image, ImageOps

here, names, files = pathlib.Path(__file__).parent, ["digests.json"], {}
for name in names:
    try:  # one flipped bit, and the answers are others, without a word
        content = files[name] = (here / name).read_bytes()
        if name == "digests.json":
            known = json.loads(content)
            wanted, content = known.pop("sha256"), json.dumps(known).encode()
            names += [file for file in known["files"] if file != "README.md"]  # people edit it
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
    """What `export_portable` wrote.

    Attributes:
        path: the folder.
        files: name -> bytes.
        largest_difference: between probabilities of the function, read back, and of the run.
    """

    path: Path
    files: dict[str, int]
    largest_difference: float


def export_portable(workdir: Path, out: Path) -> Portable:
    """Write the folder; it appears complete, and checked, or not at all.

    Args:
        workdir: run folder.
        out: must not exist, or be empty.

    Raises:
        ValueError: no run there, no flatbuffers, `out` in use, or a function that does not say what
            the run says.
    """
    out = out.absolute()  # "." has no name, and no folder around it
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
                "resize": "short side, bilinear; then the square in the middle",
                "input": "uint8 B H W 3, RGB; mean and std below are applied inside the function",
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
    """Nested dicts of arrays -> "params.backbone.conv1.kernel": array."""
    flat: dict[str, Any] = traverse_util.flatten_dict(variables, sep=".")
    return {name: np.ascontiguousarray(array) for name, array in flat.items()}


def _without_paths(config: Config) -> Config:
    """Where the images lie on this machine is nobody else's business."""
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
    found = np.asarray(jax.export.deserialize(exported).call(pixels))
    wanted = np.asarray(_probabilities(run, run.variables)(pixels))
    difference = float(np.abs(found - wanted).max())
    allowed = 1e-4 if run.config.model.compute_dtype == "float32" else 2e-2
    if not difference <= allowed:
        raise ValueError(f"the exported function differs from the run by {difference:.2g}")
    return difference


def load_portable(folder: str | Path) -> tuple[Any, Variables, tuple[str, ...]]:
    """The model of an exported folder, from the numbers that do not expire.

    Args:
        folder: that `export_portable` wrote.

    Returns:
        GTN, variables for `model.apply` (float32), class names in label order.

    Raises:
        ValueError: not such a folder, or a file that is not as it was written.
    """
    path, labels = Path(folder) / NUMBERS, Path(folder) / "labels.json"
    for file in (path, labels):
        with contextlib.suppress(OSError):  # said below
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


_CARD = """# An image classifier of {count} classes

{backbone} with gate `{gate}`, {parameters:,} parameters, trained with gtn_jax on `{data}`.
Classes: {names}.

| split | accuracy | images |
|---|---|---|
{figures}

Selected by `{select}`; accuracy on the split that selects is a little too high.

- **Started from** {weights}. Their terms go with these numbers: {license}.
- **Input**: uint8 RGB, {side} x {side} pixels, cut as `preprocessing.json` says. Mean and deviation
  are applied inside.
- **Output**: probabilities in the order of `labels.json`. One of these classes is always named,
  also of an image that shows none of them.
- **Not known**: how good it is on images from elsewhere, and for whom it is worse.

## Use

    pip install jax numpy pillow flatbuffers
    python predict.py IMAGE...

`model.stablehlo` runs on {platforms} and takes any number of images at once. It was written by JAX
{jax_version} and may not load a year from now. `model.safetensors` will: its names are those of the
modules, its header holds the run's config, and gtn_jax reads it:

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
    """Markdown.

    Args:
        config: of the run, without paths of this machine.
        classes: names in label order.
        summary: of the run; accuracies that it lacks are left out.
        parameters: of the model.
        platforms: that its function was compiled for.
    """
    weights = config.model.weights
    known = {**WEIGHTS, **{PREFIX + name: info for name, info in HUB.items()}}
    license = known[weights].license if weights in known else ""
    figures = [
        f"| {split} | {100 * summary[f'{split}_accuracy']:.2f} % | {summary[f'{split}_images']:,} |"
        for split in ("validation", "test")
        if f"{split}_accuracy" in summary
    ]
    found = versions(PACKAGES).items()
    return _CARD.format(
        count=len(classes),
        backbone=config.model.backbone,
        gate=config.model.gate,
        parameters=parameters,
        data=config.data.name,
        names=", ".join(classes[:20]) + (", ..." if len(classes) > 20 else ""),
        figures="\n".join(figures) or "| none was evaluated | | |",
        select=config.training.select,
        weights=f"the weights `{weights}`" if weights else "random numbers",
        license=license or ("see where they come from" if weights else "yours"),
        side=config.data.evaluation_size,
        platforms=", ".join(platforms),
        jax_version=jax.__version__,
        versions=", ".join(f"{name} {version}" for name, version in found if version),
    )

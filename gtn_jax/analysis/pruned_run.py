"""A run -> a run of fewer channels, checked against the curve before anything is written.

Which channels go is decided on training images, what that costs is told on validation images.
"""

import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gtn_jax.analysis.channels import ChannelCurve, channel_curve, channel_means, kept_logits
from gtn_jax.arrays import Batch
from gtn_jax.data.sources import open_data
from gtn_jax.data.subsets import choose, fingerprint
from gtn_jax.devices import data_mesh, put_batch
from gtn_jax.errors import UsageError
from gtn_jax.inference.head import head_of
from gtn_jax.inference.new_run import check_new_folder, write_run
from gtn_jax.inference.outputs import outputs_of
from gtn_jax.inference.prune import prune
from gtn_jax.inference.restore import Restored, open_split, restore

_ROUNDS = 7
# Of the largest logit: what other orders of the same sums may differ by.
_ROUNDING = {"float32": 1e-4, "bfloat16": 3e-2}


class Pruned(NamedTuple):
    """What `pruned_run` did.

    Attributes:
        path: the new run folder.
        curve: on the split.
        images: of the split.
        channels: before, after.
        accuracy: of the run, by the curve, of the new run.
        parameters: before, after.
        flops: an image, before, after.
        seconds: for 1,000 images, before, after.
        batch_size: with which.
    """

    path: Path
    curve: ChannelCurve
    images: int
    channels: tuple[int, int]
    accuracy: tuple[float, float, float]
    parameters: tuple[int, int]
    flops: tuple[float, float]
    seconds: tuple[float, float]
    batch_size: int


def pruned_run(workdir: Path, out: Path, fraction: float, split: str = "validation") -> Pruned:
    """Keep the channels of highest contribution and write the smaller run.

    Args:
        workdir: run folder.
        out: run folder to write; must not exist, or be empty.
        fraction: of the channels of the last map to keep, in (0, 1].
        split: whose accuracy is told.

    Raises:
        ValueError: no run or no data set there, `out` is in use, a fraction that is none, a trunk
            or gate that cannot be cut, or a smaller network that is not what the curve says.
    """
    check_new_folder(out)
    if not 0 < fraction <= 1:
        raise UsageError(f"--keep-channels: {fraction} is no fraction above 0 and up to 1")
    run = restore(workdir)
    training = outputs_of(run, open_split(run, workdir, "train"))
    images = open_split(run, workdir, split)
    outputs, head = outputs_of(run, images), head_of(run)
    width = outputs.features.shape[1]
    count = max(1, round(fraction * width))
    curve = channel_curve(head, training, outputs, (count,))
    kept, means = curve.best(count), channel_means(head, training)
    smaller = prune(run, kept.tolist(), means)
    expected = kept_logits(head, means, outputs.features, kept)
    found = outputs_of(smaller, images).logits
    allowed = _ROUNDING[run.config.model.compute_dtype] * np.abs(expected).max()
    difference = np.abs(found - expected).max()
    if not difference <= allowed:
        raise ValueError(
            f"model.gate: {run.config.model.gate} without these channels is not what its curve "
            f"says (logits differ by {difference:.2g}); it cannot be cut"
        )
    pairs = _measure(run, smaller)

    def accuracy(logits: np.ndarray) -> float:
        return float(np.mean(logits.argmax(axis=1) == outputs.labels))

    source = {"pruned_from": workdir.name, "step": run.step, "kept_channels": count}
    write_run(
        out, smaller.config, run.classes, run.preprocessing, smaller.variables, source,
        {**source, f"{split}_accuracy": accuracy(found), f"{split}_images": len(outputs.labels)},
        _fingerprints(run),
    )  # fmt: skip
    return Pruned(
        out, curve, len(outputs.labels), (width, count),
        (accuracy(outputs.logits), accuracy(expected), accuracy(found)), **pairs,
        batch_size=run.config.data.eval_batch_size,
    )  # fmt: skip


def in_lines(pruned: Pruned) -> list[str]:
    """For a person, after the curve."""
    whole, curve, new = (f"{100 * value:.2f} %" for value in pruned.accuracy)
    (many, few), (before, after) = pruned.parameters, pruned.seconds
    flops = " -> ".join(f"{value / 1e6:,.1f}" for value in pruned.flops)
    return [
        f"kept      {pruned.channels[1]} of {pruned.channels[0]} channels",
        f"accuracy  {whole} -> {new} of {pruned.images} images; the curve says {curve}",
        f"size      {many:,} -> {few:,} parameters; {flops} MFLOP an image",
        f"time      {before:.3f} -> {after:.3f} s for 1,000 images in batches of "
        f"{pruned.batch_size} ({100 * (1 - after / before):.1f} % saved)",
        str(pruned.path),
    ]


def _measure(run: Restored, smaller: Restored) -> dict[str, Any]:
    """Fields `parameters`, `flops` and `seconds`: both networks in turns, median of rounds."""
    mesh, side = data_mesh(), run.config.data.evaluation_size
    size = -(-run.config.data.eval_batch_size // mesh.size) * mesh.size
    pixels = np.random.default_rng(0).integers(0, 256, (size, side, side, 3), np.uint8)
    batch = put_batch(Batch(pixels, np.zeros(size, np.int32), np.ones(size, np.float32)), mesh)
    compiled = []
    for each in (run, smaller):
        program: Any = each.setup.programs.probabilities_step
        compiled.append(program.lower(each.variables, batch).compile())
        compiled[-1](each.variables, batch)
    seconds: list[list[float]] = [[], []]
    for _ in range(_ROUNDS):
        for place, each in enumerate((run, smaller)):
            before = time.perf_counter()
            jax.block_until_ready(compiled[place](each.variables, batch))
            seconds[place].append((time.perf_counter() - before) * 1000 / size)
    # XLA counts the work of one device.
    flops = tuple(c.cost_analysis().get("flops", float("nan")) * mesh.size / size for c in compiled)
    parameters = tuple(
        sum(leaf.size for leaf in jax.tree.leaves(each.variables["params"]))
        for each in (run, smaller)
    )
    return {
        "parameters": parameters,
        "flops": flops,
        "seconds": tuple(statistics.median(each) for each in seconds),
    }


def _fingerprints(run: Restored) -> dict[str, dict[str, Any]]:
    data = run.config.data
    parts = choose(open_data(data), data, run.config.seed)
    return {split: fingerprint(part) for split, part in parts.items()}

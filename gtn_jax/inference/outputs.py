"""Run + split -> what its network computes for every image: features, gate and logits.

For whoever wants to know how a model decides; gate and channels of analysis/ start here.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from gtn_jax.data.augment import evaluation_transform
from gtn_jax.data.images import Images
from gtn_jax.data.pipeline import evaluation_batches
from gtn_jax.devices import data_mesh, fetch, put_batch
from gtn_jax.inference.head import head_of
from gtn_jax.inference.restore import Restored, open_split, restore
from gtn_jax.training.forward_steps import make_forward


class RunOutputs(NamedTuple):
    """All images of a split, in its order; of videos, all stored frames.

    Attributes:
        files: str B, names in the data set.
        labels: int32 B.
        logits: float32 B N.
        gate: float32 B K, the factor on each feature.
        features: float32 B K, pooled, before the gate.
        kernel: float32 K N, of the classifier.
        bias: float32 N, zeros where the classifier has none.
        gate_kind: `model.gate` of the run.
        classes: names in label order.
    """

    files: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    gate: np.ndarray
    features: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    gate_kind: str
    classes: tuple[str, ...]


def run_outputs(
    workdir: Path, split: str, data_name: str | None = None, data_dir: str | None = None
) -> RunOutputs:
    """Run the selected weights over a split, without dropout.

    Args:
        workdir: run folder.
        split: test, validation or train; its evaluation view in any case.
        data_name: another data set with the same classes; None: the run's own.
        data_dir: folder of prepared data sets; None: the run's own.

    Raises:
        ValueError: as `restore` and `open_split`.
    """
    run = restore(workdir)
    return outputs_of(run, open_split(run, workdir, split, data_name, data_dir))


def outputs_of(run: Restored, images: Images) -> RunOutputs:
    """The same of a run that is restored, and of images that are open."""
    mesh = data_mesh()
    forward = jax.jit(make_forward(run.model, evaluation_transform(*run.preprocessing)))
    parts = []
    for batch in evaluation_batches(images, run.setup.evaluation_batch):
        real = np.asarray(batch.mask) > 0
        placed = put_batch(batch, mesh)
        outputs = fetch(forward(run.variables, placed.images, placed.sizes))
        parts.append([outputs.logits[real], outputs.gate[real], outputs.features[real]])
    logits, gate, features = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    head = head_of(run)
    return RunOutputs(
        images.part.files, images.part.labels, logits, gate, features,
        head.kernel, head.bias, run.config.model.gate, run.classes,
    )  # fmt: skip

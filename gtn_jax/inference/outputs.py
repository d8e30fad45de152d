"""Run + split -> what its network computes for every image: features, gate and logits.

For whoever wants to know how a model decides; gate and channels of analysis/ start here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from gtn_jax.arrays import Array
from gtn_jax.data.augment import evaluation_transform
from gtn_jax.data.images import Images
from gtn_jax.data.pipeline import evaluation_batches
from gtn_jax.devices import data_mesh, fetch, put_batch
from gtn_jax.inference.restore import Restored, open_split, restore
from gtn_jax.models.gtn import gate_of
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


class Head(NamedTuple):
    """What stands on the pooled features, without dropout.

    Attributes:
        gate: float32 B K -> the gated features B K; jitted.
        kernel: float32 K N, of the classifier.
        bias: float32 N, zeros where the classifier has none.
    """

    gate: Callable[[Array], jax.Array]
    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, gated: Array) -> np.ndarray:
        """Gated features B K -> float64 B N."""
        return np.asarray(gated, np.float64) @ self.kernel.astype(np.float64) + self.bias


def head_of(run: Restored) -> Head:
    """The head of a run's selected weights."""
    params = jax.device_get(run.variables["params"])
    classifier, own = params["classifier"]["fc"], params.get("gate", {})
    module = gate_of(run.model)

    @jax.jit
    def gate(features: Array) -> jax.Array:
        applied = cast(tuple[Any, Any], module.apply({"params": own}, jnp.asarray(features), False))
        return applied[0]

    kernel = np.asarray(classifier["kernel"])
    return Head(gate, kernel, np.asarray(classifier.get("bias", np.zeros(kernel.shape[1]))))

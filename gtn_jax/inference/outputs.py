"""Features, gate and logits of every image of a split."""

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
    """Outputs for all images of a split, in its order; for videos, all stored frames.

    Attributes:
        files: str B, names in the data set.
        labels: int32 B.
        logits: float32 B N.
        gate: float32 B K, the factor on each feature.
        features: float32 B K, pooled, before the gate.
        kernel: float32 K N, of the classifier.
        bias: float32 N, zeros for a classifier without bias.
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
    """Run the selected weights on a split, in its evaluation view and without dropout.

    Arguments and errors are those of `restore.judge_run`.
    """
    run = restore(workdir)
    return outputs_of(run, open_split(run, workdir, split, data_name, data_dir))


def outputs_of(run: Restored, images: Images) -> RunOutputs:
    """`run_outputs` for a restored run and open images."""
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
    """Jitted gate (float32 B K -> gated features B K), kernel K N and bias N of the classifier."""

    gate: Callable[[Array], jax.Array]
    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, gated: Array) -> np.ndarray:
        """Gated features B K -> float64 B N."""
        return np.asarray(gated, np.float64) @ self.kernel.astype(np.float64) + self.bias


def head_of(run: Restored) -> Head:
    """The head with the selected weights of a run."""
    params = jax.device_get(run.variables["params"])
    classifier, gate_params = params["classifier"]["fc"], params.get("gate", {})
    module = gate_of(run.model)

    @jax.jit
    def gate(features: Array) -> jax.Array:
        applied = cast(
            tuple[Any, Any], module.apply({"params": gate_params}, jnp.asarray(features), False)
        )
        return applied[0]

    kernel = np.asarray(classifier["kernel"])
    return Head(gate, kernel, np.asarray(classifier.get("bias", np.zeros(kernel.shape[1]))))

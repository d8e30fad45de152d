"""One exact pass over a split."""

from collections.abc import Iterable

import jax
import numpy as np

from gtn_jax.arrays import Batch, Variables
from gtn_jax.training.sharding import put_batch
from gtn_jax.training.steps import EvaluationStep


def evaluate(
    step: EvaluationStep, variables: Variables, batches: Iterable[Batch], mesh: jax.sharding.Mesh
) -> dict[str, float]:
    """Add the sums of all batches up and divide once.

    Args:
        step: jitted, from `make_evaluation_step`.
        variables: replicated on the mesh.
        batches: from `pipeline.evaluation_batches`; padded rows do not count.
        mesh: whose devices share each batch.

    Returns:
        loss (nats), accuracy, top5_accuracy (0 to 1) and images.
    """
    loss, correct, correct_top5, images = 0.0, 0, 0, 0
    for batch in batches:
        part = jax.device_get(step(variables, put_batch(batch, mesh)))
        loss += float(np.float64(part.loss))
        correct += int(part.correct)
        correct_top5 += int(part.correct_top5)
        images += int(part.images)
    return {
        "loss": loss / images,
        "accuracy": correct / images,
        "top5_accuracy": correct_top5 / images,
        "images": images,
    }

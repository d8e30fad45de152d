"""One exact pass over a split, of images or of videos."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np

from gtn_jax.arrays import Batch, Variables
from gtn_jax.data.images import Images
from gtn_jax.data.pipeline import evaluation_batches
from gtn_jax.devices import fetch, put_batch
from gtn_jax.runs.predictions import Predictions
from gtn_jax.runtime.interruption import until_interrupted
from gtn_jax.training.clip_evaluation import evaluate_clips
from gtn_jax.training.forward_steps import EvaluationStep
from gtn_jax.training.metrics import Answers
from gtn_jax.training.setup import RunSetup


class Evaluation(NamedTuple):
    """How good a classifier is on a split, and what it said of each image.

    Attributes:
        figures: name -> number; see `evaluate` and `evaluate_clips`.
        answers: NumPy arrays; of videos, one a clip.
        rows: int B, which image of the split each answer is of; of a clip, one of its frames.
    """

    figures: dict[str, float]
    answers: Answers
    rows: np.ndarray


def evaluate_images(setup: RunSetup, variables: Variables, images: Images, draw: int) -> Evaluation:
    """Evaluate as a config says: every image, or every clip of a split of videos.

    Args:
        setup: of the run.
        variables: on its devices.
        images: from `images.load`, in the view of evaluation.
        draw: number of the draw of random frames: the step that the variables are of.

    Returns:
        As `evaluate` and `evaluate_clips`, but without `top5_accuracy` where there are at most five
        classes: it would always be 1.

    Raises:
        Interrupted: see `interruption.until_interrupted`.
    """
    programs, config, mesh = setup.programs, setup.config, setup.mesh
    batches = until_interrupted(evaluation_batches(images, setup.evaluation_batch))
    if images.clips is None:
        figures, answers = evaluate(programs.evaluation_step, variables, batches, mesh)
        evaluation = Evaluation(figures, answers, np.arange(len(images)))
    else:
        evaluation = Evaluation(
            *evaluate_clips(
                programs.probabilities_step,
                variables,
                batches,
                images.clips,
                mesh,
                config.data.video_eval,
                config.seed,
                draw,
            )
        )
    if len(setup.classes) <= 5:
        del evaluation.figures["top5_accuracy"]
    return evaluation


def predictions_of(images: Images, evaluation: Evaluation) -> Predictions:
    """The answers of an evaluation of `images`, with the images' files and labels."""
    part, rows = images.part, evaluation.rows
    return Predictions(part.files[rows], part.labels[rows], *map(np.asarray, evaluation.answers))


def evaluate(
    step: EvaluationStep, variables: Variables, batches: Iterable[Batch], mesh: jax.sharding.Mesh
) -> tuple[dict[str, float], Answers]:
    """Add the sums of all batches up and divide once.

    Args:
        step: jitted, from `make_evaluation_step`.
        variables: replicated on the mesh.
        batches: from `pipeline.evaluation_batches`; padded rows do not count.
        mesh: whose devices share each batch.

    Returns:
        loss (nats), accuracy, top5_accuracy (0 to 1) and images; and the answers in the order of
        the batches.
    """
    loss, correct, correct_top5, images = 0.0, 0, 0, 0
    answers = []
    for batch in batches:
        part, said = fetch(step(variables, put_batch(batch, mesh)))
        real = np.asarray(batch.mask) > 0
        answers.append(jax.tree.map(lambda leaf, real=real: leaf[real], said))
        loss += float(np.float64(part.loss))
        correct += int(part.correct)
        correct_top5 += int(part.correct_top5)
        images += int(part.images)
    figures = {
        "loss": loss / images,
        "accuracy": correct / images,
        "top5_accuracy": correct_top5 / images,
        "images": images,
    }
    return figures, jax.tree.map(lambda *parts: np.concatenate(parts), *answers)

"""One exact pass over a split, of images or of videos."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np

from gtn_jax.arrays import Batch, Variables
from gtn_jax.data.clips import clip_rows, epoch_rows, mean_of_frames
from gtn_jax.data.images import Images
from gtn_jax.data.pipeline import evaluation_batches
from gtn_jax.devices import fetch, put_batch
from gtn_jax.runs.predictions import SavedPredictions
from gtn_jax.runtime.interruption import until_interrupted
from gtn_jax.training.forward_steps import EvaluationStep, ProbabilitiesStep
from gtn_jax.training.metrics import Predictions, label_ranks
from gtn_jax.training.setup import RunSetup


class Evaluation(NamedTuple):
    """Metrics of a classifier on a split, and its predictions.

    Attributes:
        figures: name -> number; see `evaluate` and `judge`.
        predictions: NumPy arrays; for videos, one row per clip.
        rows: int B, the row in the split of each answer; for a clip, of one of its frames.
    """

    figures: dict[str, float]
    predictions: Predictions
    rows: np.ndarray


def evaluate_images(setup: RunSetup, variables: Variables, images: Images, draw: int) -> Evaluation:
    """Evaluate a split of images or videos as the config says.

    `top5_accuracy` is left out for at most five classes, where it is always 1.

    Args:
        images: from `images.load`, in the view of evaluation.
        draw: selects the random frames: the training step of the variables.

    Raises:
        Interrupted: see `interruption.until_interrupted`.
    """
    programs, config, mesh = setup.programs, setup.config, setup.mesh
    batches = until_interrupted(evaluation_batches(images, setup.evaluation_batch))
    if images.clips is None:
        figures, predictions = evaluate(programs.evaluation_step, variables, batches, mesh)
        rows = np.arange(len(images))
    else:
        figures, predictions, rows = evaluate_clips(
            programs.probabilities_step,
            variables,
            batches,
            images.clips,
            mesh,
            config.data.video_eval,
            config.seed,
            draw,
        )
    if len(setup.classes) <= 5:
        del figures["top5_accuracy"]
    return Evaluation(figures, predictions, rows)


def predictions_of(images: Images, evaluation: Evaluation) -> SavedPredictions:
    """The predictions of an evaluation of `images`, with files and labels."""
    part, rows = images.part, evaluation.rows
    return SavedPredictions(
        part.files[rows], part.labels[rows], *map(np.asarray, evaluation.predictions)
    )


def evaluate(
    step: EvaluationStep, variables: Variables, batches: Iterable[Batch], mesh: jax.sharding.Mesh
) -> tuple[dict[str, float], Predictions]:
    """Sum the metrics of all batches and divide once; padding does not count.

    Returns loss (nats), accuracy, top5_accuracy (0 to 1) and images; and the predictions in order.
    """
    loss, correct, correct_top5, images = 0.0, 0, 0, 0
    predictions = []
    for batch in batches:
        totals, batch_predictions = fetch(step(variables, put_batch(batch, mesh)))
        real = np.asarray(batch.mask) > 0
        predictions.append(jax.tree.map(lambda leaf, real=real: leaf[real], batch_predictions))
        loss += float(np.float64(totals.loss))
        correct += int(totals.correct)
        correct_top5 += int(totals.correct_top5)
        images += int(totals.images)
    figures = {
        "loss": loss / images,
        "accuracy": correct / images,
        "top5_accuracy": correct_top5 / images,
        "images": images,
    }
    return figures, jax.tree.map(lambda *parts: np.concatenate(parts), *predictions)


def evaluate_clips(
    step: ProbabilitiesStep,
    variables: Variables,
    batches: Iterable[Batch],
    ids: np.ndarray,
    mesh: jax.sharding.Mesh,
    video_eval: str,
    seed: int,
    draw: int,
) -> tuple[dict[str, float], Predictions, np.ndarray]:
    """Classify every frame of a split of videos, then `judge` its clips.

    `batches` are in the order of `ids`, int B, the clip of each frame; padding does not count.
    """
    probabilities, labels = [], []
    for batch in batches:
        real = np.asarray(batch.mask) > 0
        probabilities.append(fetch(step(variables, put_batch(batch, mesh)))[real])
        labels.append(np.asarray(batch.labels)[real])
    return judge(np.concatenate(probabilities), np.concatenate(labels), ids, video_eval, seed, draw)


def judge(
    probabilities: np.ndarray,
    labels: np.ndarray,
    ids: np.ndarray,
    video_eval: str,
    seed: int,
    draw: int,
) -> tuple[dict[str, float], Predictions, np.ndarray]:
    """Metrics of video clips in three ways, from the probabilities of all frames.

    Args:
        probabilities: float32 B N.
        labels: int B; the same for all frames of a clip.
        ids: int B, the clip of each frame.
        video_eval: "mean_of_25" or "random_frame": decides `accuracy`, `top5_accuracy` and `loss`.
        seed: of the random frames, with `draw`.

    Returns:
        loss (nats), accuracy, top5_accuracy, clip_accuracy (mean probabilities of a clip's frames),
        frame_accuracy (all frames), random_frame_accuracy (one frame per clip), images (frames) and
        clips; the answer to each clip; and the row of its first or random frame.
    """
    rows = clip_rows(ids)
    drawn = epoch_rows(rows, seed, draw)
    firsts = np.array([clip[0] for clip in rows])
    ways = {
        "mean_of_25": (mean_of_frames(probabilities, ids), firsts),
        "random_frame": (probabilities[drawn], drawn),
        "frame": (probabilities, np.arange(len(labels))),
    }
    ranks = {way: label_ranks(scores, labels[of]) for way, (scores, of) in ways.items()}
    chosen, of = ways[video_eval]
    truth = labels[of]
    of_label = chosen[np.arange(len(truth)), truth]
    # The log of a probability that underflows would make the mean infinite.
    losses = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny))

    def top(way: str, k: int) -> float:
        return float(np.mean(ranks[way] < k))

    figures = {
        "loss": float(np.mean(losses, dtype=np.float64)),
        "accuracy": top(video_eval, 1),
        "top5_accuracy": top(video_eval, 5),
        "clip_accuracy": top("mean_of_25", 1),
        "frame_accuracy": top("frame", 1),
        "random_frame_accuracy": top("random_frame", 1),
        "images": len(labels),
        "clips": len(rows),
    }
    predictions = Predictions(
        np.argmax(chosen, axis=1).astype(np.int32), chosen.max(axis=1), of_label
    )
    return figures, predictions, of

"""One exact pass over a split of videos: all stored frames, and one answer a clip."""

from collections.abc import Iterable

import jax
import numpy as np

from gtn_jax.arrays import Array, Batch, Variables
from gtn_jax.data.clips import clip_rows, epoch_rows, mean_of_frames
from gtn_jax.devices import fetch, put_batch
from gtn_jax.training.forward_steps import ProbabilitiesStep
from gtn_jax.training.metrics import Answers, label_ranks


def evaluate_clips(
    step: ProbabilitiesStep,
    variables: Variables,
    batches: Iterable[Batch],
    ids: np.ndarray,
    mesh: jax.sharding.Mesh,
    video_eval: str,
    seed: int,
    draw: int,
) -> tuple[dict[str, float], Answers, np.ndarray]:
    """Classify every frame once, then judge clips in three ways.

    Args:
        step: jitted, from `make_probabilities_step`.
        variables: replicated on the mesh.
        batches: from `pipeline.evaluation_batches`, in the order of `ids`; padded rows do not
            count.
        ids: int B, the clip of each frame, from `clips.clip_ids`.
        mesh: whose devices share each batch.
        video_eval: "mean_of_25" or "random_frame": what `accuracy`, `top5_accuracy` and `loss` are
            of.
        seed: of the random frames.
        draw: number of that draw, e.g. the training step.

    Returns:
        loss (nats), accuracy, top5_accuracy, clip_accuracy (largest mean probability over a clip's
        frames), frame_accuracy (of all frames), random_frame_accuracy (of one frame a clip), images
        (frames) and clips; the answer to each clip; and the row of one of its frames: its first, or
        the random one.
    """
    parts, labels = [], []
    for batch in batches:
        real = np.asarray(batch.mask) > 0
        parts.append(fetch(step(variables, put_batch(batch, mesh)))[real])
        labels.append(np.asarray(batch.labels)[real])
    return judge(np.concatenate(parts), np.concatenate(labels), ids, video_eval, seed, draw)


def judge(
    probabilities: np.ndarray,
    labels: np.ndarray,
    ids: np.ndarray,
    video_eval: str,
    seed: int,
    draw: int,
) -> tuple[dict[str, float], Answers, np.ndarray]:
    """What `evaluate_clips` returns, from the probabilities of all frames.

    Args:
        probabilities: float32 B N.
        labels: int B; one label a clip.
        ids: int B, the clip of each frame.
        video_eval: as in `evaluate_clips`, and so `seed` and `draw`.
        seed: of the random frames.
        draw: number of that draw.
    """
    rows = clip_rows(ids)
    drawn = epoch_rows(rows, seed, draw)
    firsts = np.array([own[0] for own in rows])
    ways = {
        "mean_of_25": (mean_of_frames(probabilities, ids), firsts),
        "random_frame": (probabilities[drawn], drawn),
        "frame": (probabilities, np.arange(len(labels))),
    }
    ranks = {way: label_ranks(found, labels[of]) for way, (found, of) in ways.items()}
    chosen, of = ways[video_eval]
    truth = labels[of]
    own = chosen[np.arange(len(truth)), truth]
    # A probability too small for float32 is 0; its logarithm should not end the run's average.
    losses = -np.log(np.maximum(own, np.finfo(np.float32).tiny))
    figures = {
        "loss": float(np.mean(losses, dtype=np.float64)),
        "accuracy": _share(ranks[video_eval], 1),
        "top5_accuracy": _share(ranks[video_eval], 5),
        "clip_accuracy": _share(ranks["mean_of_25"], 1),
        "frame_accuracy": _share(ranks["frame"], 1),
        "random_frame_accuracy": _share(ranks["random_frame"], 1),
        "images": len(labels),
        "clips": len(rows),
    }
    answers = Answers(np.argmax(chosen, axis=1).astype(np.int32), chosen.max(axis=1), own)
    return figures, answers, of


def _share(ranks: Array, best: int) -> float:
    return float(np.mean(ranks < best))

"""Start training from classifiers that are solved on the pretrained features.

The main classifier is solved on features gated by the initial gate, the auxiliary one, which has no
bias, on those of the penultimate stage: a random one would disturb the backbone from the first step
on. Images are seen as in evaluation and, if training flips images and that helps, mirrored. (Linear
probing, then fine-tuning: arXiv 2202.10054.)
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from gtn_jax.arrays import Variables
from gtn_jax.data.clips import clip_ids, clip_rows
from gtn_jax.data.images import Images
from gtn_jax.data.subsets import Subset
from gtn_jax.devices import fetch
from gtn_jax.runtime.distributed import is_primary, received
from gtn_jax.training.forward_steps import GatedStep
from gtn_jax.training.head_solver import SolvedHead, solve_head, solve_heads
from gtn_jax.training.image_store import ordered_batches


class HeadStart(NamedTuple):
    """Variables including the solved classifiers, and how the main one was chosen."""

    variables: Variables
    solved: SolvedHead


def solve_start(
    step: GatedStep,
    variables: Variables,
    num_classes: int,
    train: Images,
    validation: Images | None,
    mirror: bool,
    batch_size: int,
    mesh: jax.sharding.Mesh,
    seed: int,
) -> HeadStart:
    """Solve main and auxiliary classifiers in the primary process, for all of them.

    Args:
        step: jitted, from `make_gated_step`.
        variables: on the mesh, with pretrained weights and a classifier with bias.
        num_classes: N.
        train: in the view of evaluation.
        validation: likewise, to choose the strength of the penalty; None: cross-validation.
        mirror: whether mirror images may be used.
        batch_size: images per step.

    Raises:
        ValueError: features that are not finite.
    """
    params, labels = variables["params"], train.part.labels
    views = [_features(step, variables, train, False, batch_size, mesh)]
    if mirror:
        views.append(_features(step, variables, train, True, batch_size, mesh))
    held_out = None
    if validation is not None:
        features = [
            _features(step, variables, validation, mirrored, batch_size, mesh)[0]
            for mirrored in (False, True)[: len(views)]
        ]
        held_out = np.stack(features), validation.part.labels
    main: Any = {name: np.asarray(leaf) for name, leaf in params["classifier"]["fc"].items()}
    solved = SolvedHead(main["kernel"], main["bias"], 0.0, 1, "", 0, None)
    auxiliary = "aux_classifier" in params
    aux_kernel = np.asarray(params["aux_classifier"]["fc"]["kernel"]) if auxiliary else None
    if is_primary():
        gated = np.stack([last for last, _ in views])
        solved = solve_head(gated, labels, num_classes, held_out, seed=seed)
        if auxiliary:
            # At the same strength: it is not used for prediction.
            used = [before for _, before in views[: solved.views] if before is not None]
            rows, repeated = np.concatenate(used), np.tile(labels, len(used))
            strengths = (solved.strength,)
            aux_kernel = solve_heads(rows, repeated, num_classes, strengths, False).kernels[0]
    numbers = np.array([solved.strength, solved.views])
    kernel, bias, numbers, aux_kernel = received((solved.kernel, solved.bias, numbers, aux_kernel))
    strength, used = np.asarray(numbers).tolist()
    solved = solved._replace(kernel=kernel, bias=bias, strength=strength, views=int(used))
    heads: dict[str, Any] = {"classifier": {"fc": {"kernel": kernel, "bias": bias}}}
    if auxiliary:
        heads["aux_classifier"] = {"fc": {"kernel": aux_kernel}}
    return HeadStart({**variables, "params": {**params, **heads}}, solved)


def single_frames(part: Subset) -> Subset:
    """The same subset; for videos, the middle frame of each clip."""
    if not part.split.clips:
        return part
    frames = clip_rows(clip_ids(part.files))
    return part.only(np.sort([rows[len(rows) // 2] for rows in frames]))


def _features(
    step: GatedStep,
    variables: Variables,
    images: Images,
    mirror: bool,
    batch_size: int,
    mesh: jax.sharding.Mesh,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Gated and auxiliary features, float32 B K each, of all images."""
    features = [
        fetch(step(variables, batch, np.array(mirror)))
        for batch in ordered_batches(images, batch_size, mesh)
    ]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(images)], *features)

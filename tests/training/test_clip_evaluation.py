"""Clips judged in three ways: by hand, and through a model."""

import jax
import numpy as np
import pytest

from gtn_jax.arrays import Batch
from gtn_jax.data.augment import evaluation_transform
from gtn_jax.data.clips import epoch_rows
from gtn_jax.devices import data_mesh, replicate
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.training.evaluate import evaluate, evaluate_clips, judge
from gtn_jax.training.forward_steps import (
    make_evaluation_step,
    make_forward,
    make_probabilities_step,
)

# Clip 0, class 0: two frames say 1 narrowly, one says 0 firmly; their mean is 0.57 and right.
# Clip 1, class 1: both frames right. Clip 2, class 2: its only frame is wrong.
PROBABILITIES = np.array(
    [
        [0.40, 0.45, 0.15],
        [0.41, 0.44, 0.15],
        [0.90, 0.05, 0.05],
        [0.2, 0.6, 0.2],
        [0.3, 0.5, 0.2],
        [0.5, 0.25, 0.25],
    ],
    np.float32,
)
LABELS = np.array([0, 0, 0, 1, 1, 2], np.int32)
IDS = np.array([0, 0, 0, 1, 1, 2], np.int32)


def test_by_hand():
    result, answers, rows = judge(PROBABILITIES, LABELS, IDS, "mean_of_25", seed=0, draw=0)
    assert result["clip_accuracy"] == result["accuracy"] == pytest.approx(2 / 3)
    assert result["frame_accuracy"] == pytest.approx(3 / 6)
    assert result["top5_accuracy"] == 1.0
    assert (result["images"], result["clips"]) == (6, 3)
    # -log of 1.71 / 3, 0.55 and 0.25: 0.562119, 0.597837, 1.386294.
    assert result["loss"] == pytest.approx(0.848750, abs=1e-6)
    assert rows.tolist() == [0, 3, 5]
    assert answers.predicted.tolist() == [0, 1, 0]
    np.testing.assert_allclose(answers.predicted_probability, [0.57, 0.55, 0.5], rtol=1e-6)
    np.testing.assert_allclose(answers.label_probability, [0.57, 0.55, 0.25], rtol=1e-6)


def test_random_frame_by_hand():
    answers = set()
    for draw in range(20):
        result, said, rows = judge(PROBABILITIES, LABELS, IDS, "random_frame", seed=0, draw=draw)
        row = int(epoch_rows([np.arange(3)], seed=0, epoch=draw)[0])
        right = 1 if row < 2 else 2  # of clip 0 only the last frame is right
        assert result["accuracy"] == result["random_frame_accuracy"] == pytest.approx(right / 3)
        assert result["clip_accuracy"] == pytest.approx(2 / 3)
        assert rows[0] == row and (said.predicted[0] == 0) == (right == 2)
        answers.add(right)
    assert answers == {1, 2}


def test_what_is_no_number_is_wrong_and_zero_is_finite():
    broken = PROBABILITIES.copy()
    broken[0] = np.nan
    result, _, _ = judge(broken, LABELS, IDS, "mean_of_25", seed=0, draw=0)
    assert result["clip_accuracy"] == pytest.approx(1 / 3)
    assert result["frame_accuracy"] == pytest.approx(3 / 6)
    certain = np.float32([[1, 0, 0]])
    result, _, _ = judge(certain, np.array([1]), np.array([0]), "mean_of_25", seed=0, draw=0)
    assert result["loss"] == pytest.approx(87.3365, abs=1e-3)  # of 2**-126


def test_through_a_model_as_evaluate_sees_it():
    """Frame figures equal `evaluate`'s on the same batches; padded rows count nowhere."""
    model, mesh = GTN("tiny", 7, gate_reduction=4), data_mesh()
    variables = replicate(init_variables(model, 0), mesh)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (16, 16, 16, 3), dtype=np.uint8)
    labels = np.repeat(np.arange(7, dtype=np.int32), [3, 2, 2, 2, 2, 1, 4])
    mask = (np.arange(16) < 13).astype(np.float32)
    batches = [Batch(images[at : at + 8], labels[at : at + 8], mask[at : at + 8]) for at in (0, 8)]
    transform = evaluation_transform((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    step = jax.jit(make_probabilities_step(make_forward(model, transform)))
    evaluation_step = jax.jit(make_evaluation_step(make_forward(model, transform)))
    frames, _ = evaluate(evaluation_step, variables, batches, mesh)
    alone = np.arange(13, dtype=np.int32)  # every frame its own clip
    for way in ("mean_of_25", "random_frame"):
        result, _, _ = evaluate_clips(step, variables, batches, alone, mesh, way, seed=0, draw=3)
        assert result.keys() - frames.keys() == {
            *("clip_accuracy", "frame_accuracy", "random_frame_accuracy", "clips"),
        }
        for name in ("loss", "accuracy", "top5_accuracy", "images"):
            assert result[name] == pytest.approx(frames[name], rel=1e-5)
    probabilities = np.asarray(step(variables, batches[0]))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)

    result, _, _ = evaluate_clips(step, variables, batches, labels[:13], mesh, "mean_of_25", 0, 0)
    assert result["clips"] == 7 and result["frame_accuracy"] == frames["accuracy"]

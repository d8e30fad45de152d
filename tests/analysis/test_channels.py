"""Rankings and curves of channels by hand."""

import numpy as np
import pytest

from gtn_jax.analysis.channels import (
    channel_curve,
    channel_means,
    channel_scores,
    curve_arrays,
    kept_logits,
)
from gtn_jax.inference.outputs import Head, RunOutputs

# Channel 0 tells the two classes apart, 1 is the same for all, 2 pulls towards the wrong one.
FEATURES = np.array([[3, 1, 2], [3, 1, 2], [1, 1, 0], [1, 1, 0]], np.float32)
LABELS = np.array([0, 0, 1, 1], np.int32)
KERNEL = np.array([[2, -2], [5, -5], [-1, 1]], np.float32)
BIAS = np.array([0, 10], np.float32)


def halved(features):
    """A gate that halves."""
    return np.asarray(features) / 2


def head(gate=halved) -> Head:
    return Head(gate, KERNEL, BIAS)


def outputs(features=FEATURES, labels=LABELS) -> RunOutputs:
    logits = features / 2 @ KERNEL + BIAS
    files = np.array([str(number) for number in range(len(labels))])
    gate = np.full_like(features, 0.5)
    return RunOutputs(files, labels, logits, gate, features, KERNEL, BIAS, "half", ("ant", "bee"))


def test_scores_by_hand():
    found = channel_scores(head(), outputs())
    # Gated, centered: 1/2 for ants, -1/2 for bees in channels 0 and 2; Wc is centered already.
    np.testing.assert_allclose(found.contribution, [1, 0, -0.5])
    # |Wc| is 2 sqrt 2, 5 sqrt 2, sqrt 2; deviations 1/2, 0, 1/2.
    np.testing.assert_allclose(found.weight, [np.sqrt(2), 0, np.sqrt(0.5)])
    assert len(set(found.random)) == 3


def test_contribution_does_not_look_at_what_all_classes_share():
    shifted = Head(halved, KERNEL + 7, BIAS)
    found = channel_scores(shifted, outputs())
    np.testing.assert_allclose(found.contribution, [1, 0, -0.5], atol=1e-6)


def test_dropped_channels_stand_at_their_mean():
    means = channel_means(head(), outputs())
    np.testing.assert_allclose(means.features, [2, 1, 1])
    np.testing.assert_allclose(means.gated, [1, 0.5, 0.5])
    # Of ants 3/2 (2, -2), then 1/2 (5, -5) and 1/2 (-1, 1) in any case, and the bias.
    found = kept_logits(head(), means, FEATURES, [0])
    np.testing.assert_allclose(found, [[5, 5], [5, 5], [3, 7], [3, 7]])


def test_the_gate_sees_the_mean_too():
    def sum_gate(features):
        return np.asarray(features).sum(axis=1, keepdims=True) * np.ones(3)

    means = channel_means(head(sum_gate), outputs())
    np.testing.assert_allclose(means.gated, [4, 4, 4])  # sums are 6, 6, 2, 2
    found = kept_logits(head(sum_gate), means, FEATURES, [1])
    # Nothing moves, as channel 1 is the same for all: the sum is 2 + 1 + 1.
    np.testing.assert_allclose(found, np.tile(4 * KERNEL.sum(axis=0) + BIAS, (4, 1)))


def test_curve():
    found = channel_curve(head(), outputs(), outputs())
    assert found.kept.tolist() == [3, 2, 1]
    assert found.order["contribution"].tolist() == [0, 1, 2]
    assert found.order["weight"].tolist() == [0, 2, 1]
    # Ants, all channels: 3 + 2.5 - 1 = 4.5 against 5.5, wrong; without the harmful one 5 against
    # 5, and a tie goes to the first. Bees are right in any case.
    assert found.accuracy["contribution"].tolist() == [0.5, 1, 1]
    assert set(curve_arrays(found)) == {"channels_kept"} | {
        f"channels_{what}_{ranking}"
        for what in ("accuracy", "order")
        for ranking in ("contribution", "weight", "random")
    }


def test_training_images_rank_and_others_judge():
    # In these, channel 0 says the opposite.
    others = outputs(FEATURES[[2, 0]], np.array([0, 1], np.int32))
    found = channel_curve(head(), outputs(), others)
    assert found.order["contribution"][0] == 0
    assert found.accuracy["contribution"][-1] == pytest.approx(0)

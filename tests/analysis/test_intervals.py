"""Intervals by hand, against scipy, and how often they hold what they should."""

import numpy as np
import pytest
from scipy import stats

from gtn_jax.analysis.intervals import hierarchical_interval, paired_interval, wilson_interval


def test_constant_differences_leave_no_doubt():
    assert paired_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


def test_two_seeds_that_disagree():
    """Both drawn twice with probability 1/4 each: beyond the 2.5 % on either side."""
    assert paired_interval([1.0, -1.0]) == (-1.0, 1.0)


def test_against_scipy():
    values = np.random.default_rng(1).normal(0.5, 2.0, 12)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    np.testing.assert_allclose(paired_interval(list(values)), expected, atol=0.06)


@pytest.mark.parametrize(("seeds", "least", "most"), [(5, 0.80, 0.88), (20, 0.91, 0.95)])
def test_how_often_it_holds_the_truth(seeds, least, most):
    """Percentile intervals are too narrow for few values; the module says by how much."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        low, high = paired_interval(list(generator.normal(1.0, 1.0, seeds)))
        held += low <= 1.0 <= high
    assert least <= held / 500 <= most


def test_images_alone_give_the_interval_of_a_paired_proportion():
    """Runs that are all alike: what is left is the choice of 400 images, binomial in each cell."""
    ours = np.zeros(400, bool)
    theirs = np.zeros(400, bool)
    ours[:40] = True  # 40 images only we get right, 20 only they
    theirs[40:60] = True
    low, high = hierarchical_interval([ours] * 3, [theirs] * 3)
    # Mean 0.05; standard error of the mean of +1, -1 and 0: sqrt((60 / 400 - 0.05**2) / 400).
    error = np.sqrt((0.15 - 0.0025) / 400)
    np.testing.assert_allclose((low, high), (0.05 - 1.96 * error, 0.05 + 1.96 * error), atol=0.005)


def test_seeds_alone():
    """The same on every image: 1 for one seed, 0 for the other, as over seeds."""
    right, wrong = np.ones(50, bool), np.zeros(50, bool)
    assert hierarchical_interval([right, wrong], [wrong, wrong]) == (0.0, 1.0)


def test_what_does_not_pair_is_refused():
    with pytest.raises(ValueError, match="at least 2, found 1"):
        paired_interval([1.0])
    row = np.ones(3, bool)
    with pytest.raises(ValueError, match="2 and 1 seeds"):
        hierarchical_interval([row, row], [row])
    with pytest.raises(ValueError, match=r"rows of \[2, 3\] images"):
        hierarchical_interval([row, row], [row, row[:2]])


def test_wilson_interval():
    """By hand: of 0 of 10 the upper bound is z^2 / (10 + z^2); the others are SciPy's."""
    low, high = wilson_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(3.841459 / 13.841459, abs=1e-6)
    for correct, total in [(470, 600), (1, 2), (36, 48), (10, 10)]:
        theirs = stats.binomtest(correct, total).proportion_ci(method="wilson")
        assert wilson_interval(correct, total) == pytest.approx((theirs.low, theirs.high), abs=1e-9)

"""Confidence intervals: of an accuracy, and of the difference of two methods.

Intervals of differences are bootstrap percentile intervals (Efron and Tibshirani, "An Introduction
to the Bootstrap", 1993, chapter 13) over seeds, i.e. over training images, initialization and data
order, or over seeds and test images (sources of variance: Bouthillier et al., arXiv 2103.03098).
With few seeds they are too narrow: nominal 95 % intervals covered the true value in 85 % of
simulated comparisons of five seeds (`tests/analysis/test_intervals.py`).
"""

import math
from collections.abc import Sequence

import numpy as np

Interval = tuple[float, float]
_RESAMPLES = 10_000
_PERCENTILES = (2.5, 97.5)
_Z = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


def wilson_interval(correct: int, total: int) -> Interval:
    """95 % interval in [0, 1] of a proportion of independent trials, `total` at least 1.

    Unlike p +- 2 standard errors it holds for few trials and near 0 and 1 (Wilson, 1927, JASA 22,
    209-212).
    """
    share, square = correct / total, _Z**2 / total
    middle = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_interval(differences: Sequence[float]) -> Interval:
    """95 % interval of the mean of paired differences, one per seed, resampled over seeds.

    Raises:
        ValueError: fewer than two seeds.
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs at least 2, found {len(values)}")
    generator = np.random.default_rng(0)  # reproducible tables
    drawn = generator.integers(0, len(values), (_RESAMPLES, len(values)))
    return _percentiles(values[drawn].mean(axis=1))


def hierarchical_interval(
    ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], resamples: int = _RESAMPLES
) -> Interval:
    """95 % interval of mean(ours) - mean(theirs) in [-1, 1], resampled over seeds and test images.

    Each resample draws test images once for both methods and all seeds, and then seeds. `ours` and
    `theirs` have a row per seed, bool B: which test images, in the same order, are correct.

    Raises:
        ValueError: fewer than two seeds, or rows of different lengths.
    """
    lengths = {len(row) for row in (*ours, *theirs)}
    if len(ours) < 2 or len(ours) != len(theirs) or len(lengths) != 1:
        raise ValueError(
            f"an interval over seeds and images needs at least 2 seeds of both methods on the same "
            f"images; found {len(ours)} and {len(theirs)} seeds, rows of {sorted(lengths)} images"
        )
    difference = np.stack(ours).astype(np.float64) - np.stack(theirs).astype(np.float64)
    seeds, images = difference.shape
    generator = np.random.default_rng(0)
    # Sums over a resample are products with the counts of each image and seed in it.
    image_counts = generator.multinomial(images, np.full(images, 1 / images), resamples)
    seed_counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    means = image_counts @ difference.T / images
    return _percentiles(np.sum(means * seed_counts, axis=1) / seeds)


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, _PERCENTILES)
    return float(low), float(high)

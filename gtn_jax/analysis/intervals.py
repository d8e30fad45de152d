"""How sure a figure is: of two methods' difference, over seeds and test images; of an accuracy.

Differences have bootstrap intervals over seeds, and test images too.

Percentile intervals (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
Over seeds alone they say what another choice of training images, start and order would give on
these test images; with images resampled as well, what other test images would (sources of variance
of a benchmark: Bouthillier et al., arXiv 2103.03098). With few seeds they are too narrow: what is
called 95 % held the truth in 85 % of simulated comparisons of five seeds
(`tests/analysis/test_intervals.py` measures it).
"""

import math
from collections.abc import Sequence

import numpy as np

Interval = tuple[float, float]
_RESAMPLES = 10_000
_PERCENTILES = (2.5, 97.5)
_Z = 1.959963984540054
"""Of the standard normal distribution, 2.5 % is above."""


def wilson_interval(correct: int, total: int) -> Interval:
    """95 % interval of a share of independent trials (Wilson, 1927, JASA 22, 209-212).

    It holds for few trials and for shares near 0 and 1, too, unlike p +- 2 standard errors.

    Args:
        correct: successes, of
        total: trials, at least 1.

    Returns:
        Bounds in [0, 1].
    """
    share, square = correct / total, _Z**2 / total
    middle = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_interval(differences: Sequence[float]) -> Interval:
    """95 % interval of the mean of paired differences, resampled over seeds.

    Args:
        differences: one a seed, the same seeds and test images for both methods.

    Raises:
        ValueError: fewer than two seeds.
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs at least 2, found {len(values)}")
    generator = np.random.default_rng(0)  # the same table every time
    drawn = generator.integers(0, len(values), (_RESAMPLES, len(values)))
    return _percentiles(values[drawn].mean(axis=1))


def hierarchical_interval(
    ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], resamples: int = _RESAMPLES
) -> Interval:
    """95 % interval of the mean difference in accuracy, resampled over seeds and test images.

    Each resample draws test images once, the same for both methods and all seeds, as they are the
    same images in every run, and then seeds.

    Args:
        ours: a row a seed, bool B: which test images this method got right.
        theirs: the same of the other method, on the same images in the same order.
        resamples: how many.

    Returns:
        Bounds of mean(ours) - mean(theirs), in [-1, 1].

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
    # How often each image and each seed is drawn: sums of what is drawn are products with that.
    image_counts = generator.multinomial(images, np.full(images, 1 / images), resamples)
    seed_counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    means = image_counts @ difference.T / images
    return _percentiles(np.sum(means * seed_counts, axis=1) / seeds)


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, _PERCENTILES)
    return float(low), float(high)

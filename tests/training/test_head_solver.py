"""The solved head against scikit-learn in float64, and what chooses its strength."""

import doctest

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from gtn_jax.training import head_solver
from gtn_jax.training.head_solver import STRENGTHS, solve_head, solve_heads


def drawn(images: int, channels: int, classes: int, seed: int = 0):
    """Features like pooled ones (0 or more, of very different sizes), and labels."""
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    centers = generator.normal(size=(classes, channels))
    sizes = generator.uniform(0.01, 30, channels)
    noise = generator.normal(size=(images, channels))
    return np.float32(np.maximum(0, 0.5 * centers[labels] + noise) * sizes), labels


def centered(array: np.ndarray) -> np.ndarray:
    """Softmax does not see what all classes have in common."""
    return array - array.mean(-1, keepdims=True)


@pytest.mark.parametrize(
    ("images", "channels", "classes"),
    [(200, 24, 5), (60, 96, 3), (90, 24, 2)],
    ids=["more images than channels", "more channels than images", "two classes"],
)
def test_coefficients_are_those_of_scikit_learn(images, channels, classes):
    features, labels = drawn(images, channels, classes)
    strengths = (0.001, 0.03, 1.0)
    heads = solve_heads(features, labels, classes, strengths)
    mean, std = np.float64(features).mean(0), np.float64(features).std(0)
    standardized = (features - mean) / std
    for number, strength in enumerate(strengths):
        peer = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000).fit(standardized, labels)
        kernel = np.float64(heads.kernels[number]) * std[:, None]
        bias = heads.biases[number] + mean @ heads.kernels[number]
        if classes == 2:
            kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
            coefficients, intercept = peer.coef_.T, peer.intercept_
        else:
            kernel, bias = centered(kernel), centered(bias)
            coefficients, intercept = centered(peer.coef_.T), centered(peer.intercept_)
        np.testing.assert_allclose(kernel, coefficients, rtol=0, atol=1e-3)
        np.testing.assert_allclose(bias, intercept, rtol=0, atol=2e-3)
        ours = heads.logits(features)[number].argmax(1)
        np.testing.assert_array_equal(ours, peer.predict(standardized))


def test_features_that_tell_nothing():
    """A channel that never changes has weight 0; without any other, the classes' shares remain."""
    features = np.full((10, 4), 7.5, np.float32)
    labels = np.array([0] * 6 + [1] * 3 + [2])
    heads = solve_heads(features, labels, 3, (1.0,))
    np.testing.assert_array_equal(heads.kernels, 0)
    logits = heads.logits(features)[0, 0]
    shares = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=1e-4)


def test_a_class_without_images_is_never_predicted():
    features, labels = drawn(40, 8, 2)
    heads = solve_heads(features, labels, 3, STRENGTHS)
    assert np.isfinite(heads.kernels).all() and np.isfinite(heads.biases).all()
    assert heads.logits(features).argmax(-1).max() == 1


def test_damaged_features_are_refused():
    features, labels = drawn(10, 4, 2)
    features[3, 1] = np.nan
    with pytest.raises(ValueError, match="features: not finite"):
        solve_heads(features, labels, 2, (1.0,))


def test_validation_chooses_and_is_not_trained_on():
    features, labels = drawn(120, 24, 3)
    validation = drawn(90, 24, 3, seed=1)
    found = solve_head(features[None], labels, 3, (validation[0][None], validation[1]))
    assert (found.chosen_on, found.held_out) == ("validation", 90)
    heads = solve_heads(features, labels, 3, STRENGTHS)
    logits = np.float64(heads.logits(validation[0]))
    accuracies = (logits.argmax(-1) == validation[1]).mean(1)
    losses = np.log(np.exp(logits).sum(-1)) - logits[:, np.arange(90), validation[1]]
    error = np.sqrt(accuracies.max() * (1 - accuracies.max()) / 90)
    good = [k for k in range(len(STRENGTHS)) if accuracies[k] >= accuracies.max() - error]
    assert 1 < len(good) < len(STRENGTHS)
    chosen = min(good, key=lambda k: losses[k].mean())
    assert found.strength == STRENGTHS[chosen] and found.accuracy == accuracies[chosen]
    np.testing.assert_array_equal(found.kernel, heads.kernels[chosen])


def test_views_that_mislead_are_left_out():
    """Where a second view of held-out images looks like another class; by hand, see `_misleads`."""
    features, labels = drawn(210, 24, 3)
    train, held_out = np.split(features, [120])
    again = held_out + np.float32(0.01)
    validation = np.stack([held_out, again]), labels[120:]
    assert solve_head(np.stack([train, train]), labels[:120], 3, validation).views == 2
    other = np.stack([held_out, np.roll(held_out, 1, axis=0)]), labels[120:]
    assert solve_head(np.stack([train, train]), labels[:120], 3, other).views == 1
    losses = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]])  # 1.5 more, error 0.6455
    assert head_solver._misleads(losses)
    losses[1, 0] = 0.0  # 1.25 more, error 0.8539
    assert not head_solver._misleads(losses)


def test_views_of_an_image_share_a_fold():
    """Labels that nothing tells: whoever had seen another view of an image would know its label."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(100, 64)).astype(np.float32)
    labels = generator.permutation(np.arange(100) % 4)
    found = solve_head(np.stack([features, features]), labels, 4)
    assert (found.chosen_on, found.held_out) == ("cross-validation", 100)
    assert found.accuracy < 0.4


def test_folds_hold_each_class_in_its_share():
    labels = np.array([0] * 23 + [1] * 11 + [2] * 2 + [3])
    folds = head_solver._folds(labels, seed=0)
    assert sorted(np.concatenate(folds)) == list(range(36))  # a single image is never held out
    counts = np.array([[np.sum(labels[fold] == label) for label in range(4)] for fold in folds])
    assert (counts.max(0) - counts.min(0) <= 1).all()


def test_one_image_a_class_takes_the_middle_strength():
    features, labels = drawn(3, 8, 3)
    found = solve_head(features[None], labels, 3)
    assert (found.held_out, found.accuracy) == (0, None)
    assert found.strength == STRENGTHS[len(STRENGTHS) // 2]
    assert (features @ found.kernel + found.bias).argmax(1).tolist() == [0, 1, 2]


def test_example():
    (example,) = doctest.DocTestFinder().find(solve_heads, globs=vars(head_solver))
    assert doctest.DocTestRunner().run(example) == doctest.TestResults(failed=0, attempted=3)

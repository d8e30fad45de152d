"""Solve a linear head instead of training it: multinomial logistic regression to convergence.

The loss of a head on frozen features is convex, and its minimum is found in seconds. For rows z of
standardized features, labels y and a strength C, as in scikit-learn,

    minimize  C sum_i CE(z_i W + b, y_i) + sum(W^2) / 2

by L-BFGS (`optax.lbfgs`), one strength after the other, each warm-started from the previous
solution. (Under `jax.vmap`, every line search would take as long as the longest.) Rows are first
rotated onto their principal axes (float64, on the host; at most as many axes as rows), and each
axis is scaled by its expected curvature, which saves iterations. The scaling of the features is
folded into kernel and bias, so that the result is an ordinary classifier.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from gtn_jax.arrays import Array
from gtn_jax.training.score import standard_error

MAX_ITERATIONS = 300
GRADIENT_TOLERANCE = 1e-6
"""Of the mean loss, in scaled coordinates with a curvature of about 1."""


class Heads(NamedTuple):
    """One classifier per strength, for unscaled features.

    Attributes:
        kernels: float32 S K N.
        biases: float32 S N.
        iterations: int32 S; `MAX_ITERATIONS` if not converged.
    """

    kernels: np.ndarray
    biases: np.ndarray
    iterations: np.ndarray

    def logits(self, features: Array) -> np.ndarray:
        """S B N, for features B K."""
        return np.einsum("bk,skn->sbn", np.asarray(features), self.kernels) + self.biases[:, None]


def solve_heads(
    features: Array,
    labels: Array,
    num_classes: int,
    strengths: tuple[float, ...],
    use_bias: bool = True,
) -> Heads:
    """Solve one head per strength.

    Args:
        features: float R K, a row per view of an image.
        labels: int R.
        num_classes: N; classes without rows are allowed.
        strengths: C of scikit-learn's `LogisticRegression`; smaller is more regularized.
        use_bias: False: all biases are 0.

    Raises:
        ValueError: features that are not finite.

    Example:
        >>> features = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> heads = solve_heads(features, np.array([0, 0, 1, 1]), 2, (1.0,))
        >>> heads.logits(features)[0].argmax(1)
        array([0, 0, 1, 1])
    """
    return _Problem.of(features, labels, num_classes, use_bias).solve(strengths)


class _Problem(NamedTuple):
    """Standardized rows on their A principal axes, and the inverse transformation.

    Attributes:
        rows: float32 R A.
        labels: int32 R.
        variances: float32 A, of the axes.
        axes: float64 K A.
        mean: float64 K, of the features.
        scale: float64 K, standard deviations; infinite for constant channels.
        num_classes: N.
        use_bias: False: features are not centered (`mean` is 0, `scale` the root mean square).
    """

    rows: np.ndarray
    labels: np.ndarray
    variances: np.ndarray
    axes: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    num_classes: int
    use_bias: bool

    @classmethod
    def of(
        cls, features: Array, labels: Array, num_classes: int, use_bias: bool = True
    ) -> "_Problem":
        rows = np.asarray(features, np.float64)
        if not np.isfinite(rows).all():
            raise ValueError("features: not finite; the backbone's weights or images are damaged")
        mean, scale = rows.mean(0), rows.std(0)
        # Weights of constant channels stay 0.
        changes = scale > 1e-6 * np.abs(mean) + 1e-12
        if not use_bias:
            mean, scale = np.zeros_like(mean), np.sqrt(np.mean(rows**2, 0))
        scale = np.where(changes, scale, np.inf)
        rows = (rows - mean) / scale
        count, channels = rows.shape
        if channels <= count:
            variances, axes = np.linalg.eigh(rows.T @ rows / count)
        else:
            variances, left = np.linalg.eigh(rows @ rows.T / count)
            axes = rows.T @ left / np.sqrt(np.maximum(variances, 1e-30) * count)
        kept = variances > 1e-10 * variances[-1]
        kept[-1] = True  # if all features are equal
        axes, variances = axes[:, kept], variances[kept]
        projected = np.asarray(rows @ axes, np.float32)
        labels = np.asarray(labels, np.int32)
        variances = np.asarray(variances, np.float32)
        return cls(projected, labels, variances, axes, mean, scale, num_classes, use_bias)

    def solve(self, strengths: tuple[float, ...], weights: Array | None = None) -> Heads:
        """One head per strength; rows are weighted by float R `weights`, by default 1."""
        weights = np.ones(len(self.rows)) if weights is None else weights
        # For two classes, scikit-learn penalizes the difference of our two vectors.
        halves = np.asarray(strengths, np.float32) / (2 if self.num_classes == 2 else 1)
        weights_of_axes, biases, iterations = _minimize(
            self.rows,
            self.labels,
            np.asarray(weights, np.float32),
            self.variances,
            halves,
            self.num_classes,
            self.use_bias,
        )
        rotated = np.einsum("ka,san->skn", self.axes, np.asarray(weights_of_axes, np.float64))
        kernels = rotated / self.scale[:, None]
        biases = np.asarray(biases, np.float64) - np.einsum("k,skn->sn", self.mean, kernels)
        return Heads(
            np.asarray(kernels, np.float32), np.asarray(biases, np.float32), np.asarray(iterations)
        )


@functools.partial(jax.jit, static_argnums=(5, 6))
def _minimize(
    rows: jax.Array,
    labels: jax.Array,
    row_weights: jax.Array,
    variances: jax.Array,
    strengths: jax.Array,
    num_classes: int,
    use_bias: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Weights (S A N), biases (S N) and iterations (S) at the minimum for each strength."""
    optimizer = optax.lbfgs(memory_size=10)
    shares = row_weights / jnp.sum(row_weights)

    def solve(start: Any, strength: jax.Array) -> Any:
        """Starts from the weights and bias of the previous strength."""
        decay = 1 / (strength * jnp.sum(row_weights))
        # Curvature of the mean loss at uniform predictions, plus the penalty's.
        scaling = lax.rsqrt(variances / jnp.float32(num_classes) + decay)[:, None]

        def loss(scaled: Any) -> jax.Array:
            weights = scaling * scaled[0]
            bias = scaled[1] if use_bias else jnp.zeros_like(scaled[1])
            losses = optax.softmax_cross_entropy_with_integer_labels(
                rows @ weights + bias[None], labels
            )
            return jnp.sum(shares * losses) + decay / 2 * jnp.sum(weights**2)

        value_and_grad = optax.value_and_grad_from_state(loss)

        def is_unconverged(carry: Any) -> jax.Array:
            _, _, iteration, max_gradient = carry
            return (iteration < MAX_ITERATIONS) & (max_gradient > GRADIENT_TOLERANCE)

        def iterate(carry: Any) -> Any:
            scaled, state, iteration, _ = carry
            value, grad = value_and_grad(scaled, state=state)
            updates, state = optimizer.update(
                grad, state, scaled, value=value, grad=grad, value_fn=loss
            )
            scaled = optax.apply_updates(scaled, updates)
            max_gradient = optax.tree.max(jax.tree.map(jnp.abs, optax.tree.get(state, "grad")))
            return scaled, state, iteration + 1, max_gradient

        scaled = start[0] / scaling, start[1]
        carry = scaled, optimizer.init(scaled), jnp.int32(0), jnp.float32(jnp.inf)
        scaled, _, iterations, _ = lax.while_loop(is_unconverged, iterate, carry)
        solution = scaling * scaled[0], scaled[1]
        return solution, (*solution, iterations)

    start = jnp.zeros((rows.shape[1], num_classes)), jnp.zeros(num_classes)
    return lax.scan(solve, start, strengths)[1]


STRENGTHS = tuple(float(strength) for strength in 10.0 ** np.arange(-5, 3))
FOLDS = 5


class SolvedHead(NamedTuple):
    """The classifier with the strength chosen on held-out images.

    Attributes:
        kernel: float32 K N.
        bias: float32 N.
        strength: C, see `solve_heads`.
        views: trained on: all, or 1 if the others mislead.
        chosen_on: "validation" or "cross-validation".
        held_out: number of held-out images.
        accuracy: on the held-out images, 0..1; None without any.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float
    views: int
    chosen_on: str
    held_out: int
    accuracy: float | None


def solve_head(
    views: Array,
    labels: Array,
    num_classes: int,
    validation: tuple[Array, Array] | None = None,
    strengths: tuple[float, ...] = STRENGTHS,
    seed: int = 0,
) -> SolvedHead:
    """Solve a head on all training images, with a strength chosen on held-out images.

    Of the strengths whose accuracy is within one standard error of the highest, the one with the
    lowest loss is chosen (the accuracy of few images is coarse).

    Further views are used for training unless they look wrong: a head solved on view 0 alone has a
    loss on them (of held-out images) that is higher by more than two standard errors.

    Without validation images, the strength is chosen by stratified cross-validation, with all views
    of an image in the same fold. A class with a single image is never held out. Validation images
    are never trained on.

    Args:
        views: float V B K, features of V views of each image; view 0 is that of evaluation.
        labels: int B.
        num_classes: N.
        validation: features (float V B' K, of the same views) and labels (int B').
        strengths: to choose from, ascending; of ties the smallest.

    Raises:
        ValueError: features that are not finite.
    """
    views, labels = np.asarray(views), np.asarray(labels)
    if validation is not None:
        validation = np.asarray(validation[0]), np.asarray(validation[1])
    head, losses = _solved(views[:1], views, labels, num_classes, validation, strengths, seed)
    if len(views) > 1 and not _misleads(losses):
        head, _ = _solved(views, views, labels, num_classes, validation, strengths, seed)
    return head


def _misleads(losses: np.ndarray) -> bool:
    """Whether the other views of held-out images (losses V B) look wrong to a head solved on view
    0.

    Their mean loss is higher by two standard errors: left and right differ, as in text or in images
    of objects that all face one way.
    """
    views, images = losses.shape
    if views < 2 or images < 2:
        return False
    more = losses[1:].mean(0) - losses[0]
    return bool(more.mean() > 2 * more.std(ddof=1) / np.sqrt(images))


def _solved(
    views: np.ndarray,
    seen: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    validation: tuple[np.ndarray, np.ndarray] | None,
    strengths: tuple[float, ...],
    seed: int,
) -> tuple[SolvedHead, np.ndarray]:
    """The head solved on `views`, and its losses V B on each `seen` view of held-out images."""
    rows, count = views.reshape(-1, views.shape[-1]), len(labels)
    problem = _Problem.of(rows, np.tile(labels, len(views)), num_classes)
    heads = problem.solve(strengths)
    held_out, held_out_labels = [], labels[:0]
    if validation is not None and len(validation[1]):
        chosen_on, held_out_labels = "validation", validation[1]
        held_out.append([heads.logits(view) for view in validation[0]])
    else:
        chosen_on = "cross-validation"
        # Held-out rows have weight 0, so that all folds share one program.
        for fold in _folds(labels, seed):
            weights = np.ones(count)
            weights[fold] = 0
            fold_heads = problem.solve(strengths, np.tile(weights, len(views)))
            held_out.append([fold_heads.logits(view[fold]) for view in seen])
            held_out_labels = np.concatenate([held_out_labels, labels[fold]])
    best, accuracy, losses = len(strengths) // 2, None, np.zeros((0, 0))
    if len(held_out_labels):
        logits = np.concatenate([np.stack(views) for views in held_out], axis=2)  # V S B N
        losses = _cross_entropy(logits, held_out_labels)
        accuracies = (logits[0].argmax(-1) == held_out_labels).mean(1)
        lowest = accuracies.max() - standard_error(accuracies.max(), len(held_out_labels))
        best = int(np.where(accuracies >= lowest, losses[0].mean(1), np.inf).argmin())
        accuracy, losses = float(accuracies[best]), losses[:, best]
    head = SolvedHead(
        heads.kernels[best], heads.biases[best], strengths[best], len(views), chosen_on,
        len(held_out_labels), accuracy,
    )  # fmt: skip
    return head, losses


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """... B N -> ... B, in nats."""
    shifted = logits - logits.max(-1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(-1))
    return log_sums - shifted[..., np.arange(len(labels)), labels]


def _folds(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """Up to `FOLDS` disjoint, stratified sets of images, without classes of a single image."""
    generator = np.random.default_rng(seed)
    folds: list[list[int]] = [[] for _ in range(FOLDS)]
    start = 0
    for label in np.unique(labels):
        images = generator.permutation(np.flatnonzero(labels == label))
        if len(images) > 1:
            for number, image in enumerate(images):
                folds[(start + number) % FOLDS].append(int(image))
            start += len(images)  # spread small classes over all folds
    return [np.sort(fold) for fold in folds if fold]

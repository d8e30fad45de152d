"""Every gate with numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.models.gate import GATES, build_gate

FEATURES = np.array([[1.0, 2.0], [0.0, 4.0]], np.float32)
TWO_LAYERS = ("sigmoid", "identity", "mlp")

# K = 2, one hidden unit: relu(f0 - f1 / 4) is 0.5 for the first row and relu(-1) = 0 for the other.
PARAMS = {
    "fc1": {"kernel": np.array([[1.0], [-0.25]], np.float32)},
    "fc2": {"kernel": np.array([[2.0, -4.0]], np.float32)},
}


def build(kind: str, reduction: int = 2, dropout: float = 0.0):
    """The gate under test."""
    return build_gate(kind, "gate", reduction=reduction, dropout=dropout)


def start(kind: str, features=FEATURES, **arguments):
    """The gate's output at its random start."""
    gate = build(kind, **arguments)
    variables = gate.init(jax.random.key(1), features, False)
    return gate.apply(variables, features, False)


def assert_pair(found, gated, gate):
    """Compare to float32 rounding."""
    np.testing.assert_allclose(found[0], gated, rtol=1e-6)
    np.testing.assert_allclose(found[1], gate, rtol=1e-6)
    assert found[0].dtype == found[1].dtype == jnp.float32


def test_none():
    assert_pair(start("none"), FEATURES, [[1, 1], [1, 1]])


def test_half():
    assert_pair(start("half"), [[0.5, 1], [0, 2]], [[0.5, 0.5], [0.5, 0.5]])


def test_constant():
    assert_pair(start("constant"), FEATURES, [[1, 1], [1, 1]])
    params = {"params": {"scale": np.array([3.0, 0.5], np.float32)}}
    found = build("constant").apply(params, FEATURES, False)
    assert_pair(found, [[3, 1], [0, 2]], [[3, 0.5], [3, 0.5]])


def test_sigmoid():
    found = build("sigmoid").apply({"params": PARAMS}, FEATURES, False)
    # Hidden 0.5 and 0: sigmoid(1), sigmoid(-2); sigmoid(0) twice.
    gate = np.array([[0.7310586, 0.1192029], [0.5, 0.5]])
    assert_pair(found, gate * FEATURES, gate)


def test_identity():
    found = build("identity").apply({"params": PARAMS}, FEATURES, False)
    gate = np.array([[1.4621172, 0.2384058], [1, 1]])
    assert_pair(found, gate * FEATURES, gate)


def test_mlp():
    found = build("mlp").apply({"params": PARAMS}, FEATURES, False)
    assert_pair(found, [[1 + 1, 2 - 2], [0, 4]], [[1, 1], [1, 1]])


@pytest.mark.parametrize("kind", ["none", "constant", "identity", "mlp"])
def test_starts_as_exactly_the_identity(kind):
    features = np.random.default_rng(0).random((5, 64), np.float32)
    gated, gate = start(kind, features, reduction=16)
    np.testing.assert_array_equal(gated, features)
    np.testing.assert_array_equal(gate, np.ones_like(features))


def test_sigmoid_against_numpy_at_its_start():
    features = np.random.default_rng(0).random((5, 64), np.float32)
    gate = build("sigmoid", reduction=16)
    variables = gate.init(jax.random.key(1), features, False)
    first, last = (np.asarray(variables["params"][name]["kernel"]) for name in ("fc1", "fc2"))
    assert (first.shape, last.shape) == ((64, 4), (4, 64))
    # PyTorch's start: within 1 / sqrt(fan_in), and not far inside it.
    assert 0.9 / 8 < np.abs(first).max() <= 1 / 8
    assert 0.9 / 2 < np.abs(last).max() <= 1 / 2
    expected = 1 / (1 + np.exp(-np.maximum(features @ first, 0) @ last))
    gated, factors = np.asarray(gate.apply(variables, features, False))
    np.testing.assert_allclose(factors, expected, rtol=1e-5)
    np.testing.assert_allclose(gated, expected * features, rtol=1e-5)


@pytest.mark.parametrize("kind", TWO_LAYERS)
@pytest.mark.parametrize(("reduction", "hidden"), [(1, 32), (8, 4), (64, 1)])
def test_reduction(kind, reduction, hidden):
    features = jnp.ones((1, 32))
    variables = build(kind, reduction).init(jax.random.key(0), features, False)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes == {"fc1": {"kernel": (32, hidden)}, "fc2": {"kernel": (hidden, 32)}}


@pytest.mark.parametrize("kind", TWO_LAYERS)
def test_dropout_of_hidden_units(kind):
    gate = build(kind, 1, dropout=0.75)
    features = jnp.ones((400, 2))
    # Hidden units are the features; the kept ones count four times, the second layer copies.
    params = {name: {"kernel": jnp.eye(2)} for name in ("fc1", "fc2")}
    rngs = {"dropout": jax.random.key(0)}
    gated, factors = np.asarray(gate.apply({"params": params}, features, True, rngs=rngs))
    if kind == "mlp":
        z = gated - 1
    else:
        probability = factors / (2 if kind == "identity" else 1)
        z = np.log(probability) - np.log1p(-probability)
    np.testing.assert_allclose(np.unique(np.round(z, 3)), [0, 4], atol=2e-3)
    assert 0.2 < np.mean(z > 2) < 0.3
    # Without training nothing is dropped, and the rate 0 needs no random numbers.
    still = gate.apply({"params": params}, features, False)
    none = build(kind, 1, dropout=0.0).apply({"params": params}, features, True)
    np.testing.assert_array_equal(still[0], none[0])


def test_unknown_gate_offers_the_nearest():
    with pytest.raises(ValueError, match="unknown gate 'sigmod'; did you mean sigmoid"):
        build("sigmod")
    with pytest.raises(ValueError, match="unknown gate 'xyz'; known: constant, half, identity"):
        build("xyz")


def test_every_gate_is_tested_and_differentiable():
    assert set(GATES) == {"none", "half", "constant", "sigmoid", "identity", "mlp"}
    for kind in GATES:
        slope = jax.grad(lambda f, kind=kind: start(kind, f)[0].sum())(jnp.asarray(FEATURES))
        assert np.isfinite(slope).all()


def test_a_width_that_the_reduction_does_not_divide():
    """32 / 5 is 6.4."""
    gate, features = build("sigmoid", 5), jnp.ones((1, 32))
    variables = jax.eval_shape(lambda: gate.init(jax.random.key(0), features, False))
    assert variables["params"]["fc1"]["kernel"].shape == (32, 6)

"""How the parts of the network are put together; its numbers are in tests/weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.models.gtn import GTN, init_heads, init_variables, trace
from gtn_jax.models.heads import Classifier, pool

IMAGES = np.random.default_rng(0).standard_normal((3, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> GTN:
    """Everything there is, on the smallest backbone."""
    return GTN("tiny", 5, gate_reduction=4)


@pytest.fixture(scope="module")
def variables(model):
    """A random start."""
    return init_variables(model, seed=0)


def test_outputs_fit_together(model, variables):
    outputs = jax.jit(lambda v, x: model.apply(v, x, False))(variables, IMAGES)
    assert outputs.logits.shape == outputs.aux_logits.shape == (3, 5)
    assert outputs.gate.shape == outputs.features.shape == (3, 16)
    assert {array.dtype for array in outputs} == {jnp.dtype(jnp.float32)}
    kernel = np.asarray(variables["params"]["classifier"]["fc"]["kernel"])
    expected = np.asarray(outputs.gate * outputs.features) @ kernel
    np.testing.assert_allclose(outputs.logits, expected, rtol=1e-4, atol=1e-6)
    assert variables["params"]["aux_classifier"]["fc"]["kernel"].shape == (8, 5)


def test_halves_make_the_whole(model, variables):
    """The heads, given what the backbone pooled, need their own parameters only and drop the
    same."""
    rngs = {"dropout": jax.random.key(0)}
    heads = {name: tree for name, tree in variables["params"].items() if name != "backbone"}

    @jax.jit
    def both(variables, heads, images):
        whole = model.apply(variables, images, True, True, rngs=rngs)
        pooled = model.apply(variables, images, True, method=GTN.pooled)
        return whole, model.apply({"params": heads}, pooled, True, rngs=rngs, method=GTN.heads)

    whole, halves = both(variables, heads, IMAGES)
    for expected, found in zip(whole, halves, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_training_moves_statistics_unless_frozen(model, variables):
    rngs = {"dropout": jax.random.key(0)}

    def moved(freeze: bool) -> bool:
        train = jax.jit(
            lambda v, x: model.apply(v, x, True, freeze, rngs=rngs, mutable=["batch_stats"])
        )
        _, updates = train(variables, IMAGES)
        before = variables["batch_stats"]["backbone"]["bn1"]["mean"]
        return bool(np.any(updates["batch_stats"]["backbone"]["bn1"]["mean"] != before))

    assert moved(freeze=False)
    assert not moved(freeze=True)


def test_without_auxiliary_classifier():
    model = GTN("resnet20", 5, auxiliary=False, stages=1)
    outputs, variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), IMAGES, False)
    )
    assert outputs.aux_logits is None
    assert "aux_classifier" not in variables["params"]
    assert outputs.features.shape == (3, 16)


def test_one_stage_has_none_before_it():
    model = GTN("resnet20", 5, stages=1)
    with pytest.raises(ValueError, match=r"model\.stages: 1 leaves no stage .* at least 2"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGES, False))


def test_heads_alone_are_the_same_numbers(model, variables):
    heads = init_heads(model, 0, trace(model))
    assert sorted(heads) == ["aux_classifier", "classifier", "gate"]
    for name, part in heads.items():
        jax.tree.map(np.testing.assert_array_equal, part, variables["params"][name])


def test_pool():
    x = jnp.arange(8, dtype=jnp.bfloat16).reshape(1, 2, 2, 2)
    found = pool(x)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, [[3, 4]])


def test_classifier():
    features = np.array([[1.0, 2.0]], np.float32)
    kernel = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]], np.float32)
    params = {"params": {"fc": {"kernel": kernel, "bias": np.full(3, 0.5, np.float32)}}}
    found = Classifier(3, use_bias=True).apply(params, features, False)
    np.testing.assert_array_equal(found, [[1.5, 2.5, 0.5]])
    assert "bias" not in Classifier(3).init(jax.random.key(0), features, False)["params"]["fc"]


def test_pool_of_what_bfloat16_cannot_hold():
    """Of 256, 1, 1, 1: 64.75, between 64.5 and 65, its neighbors in bfloat16."""
    x = jnp.array([256, 1, 1, 1], jnp.bfloat16).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(pool(x), [[64.75]])

"""For users of Flax NNX: the Linen model through `nnx.bridge.ToNNX`, with its own variables."""

import jax
import numpy as np
import pytest
from flax import nnx

from gtn_jax.models.gtn import GTN, init_variables

IMAGES = np.random.default_rng(0).standard_normal((4, 16, 16, 3), np.float32)


@pytest.fixture(scope="module")
def linen():
    """Another seed than the wrapper's, so that what it computes must come from the copy."""
    model = GTN("tiny", 5, gate_reduction=4, gate_dropout=0.0, classifier_dropout=0.0)
    return model, init_variables(model, seed=7)


@pytest.fixture(scope="module")
def wrapped(linen) -> nnx.bridge.ToNNX:
    """The same, with the variables copied in."""
    model, variables = linen
    module = nnx.bridge.ToNNX(model, rngs=nnx.Rngs(0)).lazy_init(IMAGES, train=False)
    for kind, name in ((nnx.Param, "params"), (nnx.BatchStat, "batch_stats")):
        state = nnx.state(module, kind)
        nnx.replace_by_pure_dict(state, variables[name])
        nnx.update(module, state)
    return module


def test_same_outputs(linen, wrapped):
    model, variables = linen
    expected = jax.jit(lambda: model.apply(variables, IMAGES, train=False))()
    found = nnx.jit(lambda module: module(IMAGES, train=False))(wrapped)
    for name, leaf in expected._asdict().items():
        np.testing.assert_allclose(getattr(found, name), leaf, rtol=1e-5, atol=1e-6)


def test_variables_have_nnx_kinds(linen, wrapped):
    _, variables = linen
    for kind, name in ((nnx.Param, "params"), (nnx.BatchStat, "batch_stats")):
        found = nnx.to_pure_dict(nnx.state(wrapped, kind))
        assert jax.tree.structure(found) == jax.tree.structure(variables[name])
        jax.tree.map(np.testing.assert_array_equal, found, variables[name])


def test_training_moves_the_statistics_and_has_gradients(linen, wrapped):
    model, variables = linen
    module = nnx.clone(wrapped)

    def loss(module):
        return module(IMAGES, train=True, mutable=["batch_stats"]).logits.sum()

    def linen_loss(params):
        outputs, changed = model.apply(
            {**variables, "params": params}, IMAGES, train=True, mutable=["batch_stats"]
        )
        return outputs.logits.sum(), changed["batch_stats"]

    gradient = jax.jit(jax.grad(linen_loss, has_aux=True))
    grads, statistics = gradient(variables["params"])
    found = {nnx.Param: nnx.jit(nnx.grad(loss))(module), nnx.BatchStat: nnx.state(module)}
    for kind, expected in ((nnx.Param, grads), (nnx.BatchStat, statistics)):
        tree = nnx.to_pure_dict(nnx.filter_state(found[kind], kind))
        assert jax.tree.structure(tree) == jax.tree.structure(expected)
        for leaf, truth in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(leaf, truth, rtol=1e-3, atol=1e-4)
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(grads["backbone"]))

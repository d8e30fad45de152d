"""The smaller network against the whole one whose dropped channels stand still."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest

from gtn_jax.config import override
from gtn_jax.inference.head import head_of
from gtn_jax.inference.prune import ChannelMeans, prune
from gtn_jax.inference.restore import Restored, restore
from gtn_jax.models.gate import GATES
from gtn_jax.models.gtn import init_variables
from gtn_jax.training.programs import build_module

KEPT = [1, 4, 5, 11]


def drawn(drawn_run, **model) -> Restored:
    """A run with other fields of the model, and weights that are all of some size."""
    run = restore(drawn_run)
    config = override(run.config, {f"model.{name}": value for name, value in model.items()})
    module = build_module(config, len(run.classes))
    start, generator = init_variables(module, 3), np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: np.asarray(leaf + 0.3 * generator.random(leaf.shape), np.float32), start
    )
    return dataclasses.replace(run, config=config, model=module, variables=variables)


def outputs(run: Restored):
    images = np.random.default_rng(1).normal(size=(6, 16, 16, 3)).astype(np.float32)
    return jax.jit(lambda variables: run.model.apply(variables, images, train=False))(run.variables)


def replaced(run: Restored, means: ChannelMeans, kept) -> np.ndarray:
    """Logits of the whole network, the other channels at their means."""
    features, head = np.asarray(outputs(run).features), head_of(run)
    moves = np.isin(np.arange(16), kept)
    gated = head.gate(np.where(moves, features, means.features).astype(np.float32))
    return head.logits(np.where(moves, gated, means.gated))


def any_means() -> ChannelMeans:
    generator = np.random.default_rng(2)
    return ChannelMeans(generator.random(16), generator.random(16))


OTHERS = ("none", "half", "identity", "constant", "mlp")
SLOW = [pytest.param(gate, marks=pytest.mark.slow) for gate in OTHERS]


@pytest.mark.parametrize("gate", ["sigmoid", *SLOW])
def test_says_what_the_whole_says_with_channels_at_their_means(drawn_run, gate):
    run, means = drawn(drawn_run, gate=gate, classifier_bias=gate == "identity"), any_means()
    smaller = prune(run, KEPT, means)
    found = outputs(smaller)
    np.testing.assert_allclose(found.logits, replaced(run, means, KEPT), rtol=1e-4)
    assert found.features.shape == (6, 4) and found.aux_logits is None
    assert smaller.config.model.kept_channels == tuple(KEPT)
    params = smaller.variables["params"]
    assert params["classifier"]["fc"]["kernel"].shape == (4, 10)
    assert params["backbone"]["layer2"]["0"]["conv2"]["kernel"].shape == (3, 3, 16, 4)
    if gate == "sigmoid":
        assert {name: leaf.shape for name, leaf in params["gate"]["fc1"].items()} == {
            "kernel": (4, 4),
            "bias": (4,),
        }


@pytest.mark.slow
def test_twice(drawn_run):
    run, first, second = drawn(drawn_run), any_means(), any_means()
    once = prune(run, KEPT, first)
    means = ChannelMeans(second.features[KEPT], second.gated[KEPT])
    twice = prune(once, [0, 2], means)
    assert twice.config.model.kept_channels == (1, 5)
    moved = np.isin(np.arange(16), KEPT)
    both = [np.where(moved, b, a) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(
        outputs(twice).logits, replaced(run, ChannelMeans(*both), [1, 5]), rtol=1e-4
    )


@pytest.mark.slow
def test_all_channels_are_the_whole_network(drawn_run):
    run = drawn(drawn_run)
    same = prune(run, list(range(16)), any_means())
    np.testing.assert_allclose(outputs(same).logits, outputs(run).logits, rtol=1e-5)


class PairGate(nn.Module):
    """One parameter for each two channels."""

    @nn.compact
    def __call__(self, features, train):
        scale = self.param("scale", nn.initializers.ones, (features.shape[-1] // 2,))
        factors = scale.repeat(2)[None] * features
        return factors, factors


@pytest.mark.slow
def test_gate_that_cannot_be_cut(drawn_run, monkeypatch):
    monkeypatch.setitem(GATES, "pairs", PairGate)
    run = drawn(drawn_run, gate="pairs")
    with pytest.raises(ValueError, match=r"channels of pairs cannot be cut, as gate\.scale"):
        prune(run, KEPT, any_means())

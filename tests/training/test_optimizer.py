"""Rates with literal numbers; SGD against PyTorch's definition, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.training.optimizer import (
    build_optimizer,
    count_trainable,
    current_rates,
    label_parameters,
    parameter_groups,
    relative_schedule,
    with_peak_rates,
)

PARAMS = {
    "backbone": {"conv1": {"kernel": jnp.array([1.0])}},
    "gate": {"fc1": {"kernel": jnp.array([2.0])}},
}
GRADS = {
    "backbone": {"conv1": {"kernel": jnp.array([10.0])}},
    "gate": {"fc1": {"kernel": jnp.array([20.0])}},
}


def schedule(kind, **changes):
    settings = {
        "steps_per_epoch": 10,
        "epochs": 100,
        "warmup_epochs": 0.0,
        "boundaries_epochs": (41, 81),
        "decay_factor": 0.1,
    }
    return relative_schedule(kind, **{**settings, **changes})


def test_step_schedule():
    rate = schedule("step")
    steps = [0, 409, 410, 809, 810, 999]
    expected = [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    np.testing.assert_allclose([rate(step) for step in steps], expected, rtol=1e-6)


def test_cosine_schedule():
    rate = schedule("cosine", epochs=4, warmup_epochs=1.0)
    steps = [0, 5, 10, 25, 40]
    np.testing.assert_allclose([rate(step) for step in steps], [0, 0.5, 1, 0.5, 0], atol=1e-6)
    assert schedule("cosine", epochs=4)(0) == 1.0
    shared = schedule("cosine", epochs=1, warmup_share=0.25, steps=40)
    np.testing.assert_allclose([shared(step) for step in steps], [0, 0.5, 1, 0.5, 0], atol=1e-6)


def test_constant_schedule():
    assert schedule("constant")(12345) == 1.0


def test_every_leaf_has_a_group():
    assert label_parameters(PARAMS) == {
        "backbone": {"conv1": {"kernel": "backbone"}},
        "gate": {"fc1": {"kernel": "head"}},
    }
    with pytest.raises(ValueError, match="parameter neck/kernel matches none of"):
        label_parameters({**PARAMS, "neck": {"kernel": jnp.ones(1)}})


def after(optimizer, params, grads, steps=1, first=0, **extra):
    """Updates of the last of some steps with the same gradients, and the state."""
    state, updates = optimizer.init(params), None
    for number in range(first, first + steps):
        updates, state = optimizer.update(grads, state, params, step=jnp.int32(number), **extra)
    return updates, state


def test_frozen_backbone_has_rate_zero():
    """Its momentum fills all the same: 10 + 9 + 8.1 + 7.29 after four steps of gradient 10."""
    optimizer = build_optimizer(0.9, 0.0, schedule("constant"), frozen_steps=3)
    updates, state = after(optimizer, PARAMS, GRADS, steps=3)
    assert current_rates(state) == {"backbone": 0.0, "head": 1.0}
    assert float(updates["backbone"]["conv1"]["kernel"][0]) == 0.0
    updates, state = optimizer.update(GRADS, state, PARAMS, step=jnp.int32(3))
    assert current_rates(state) == {"backbone": 1.0, "head": 1.0}
    np.testing.assert_allclose(updates["backbone"]["conv1"]["kernel"], [-34.39], rtol=1e-6)


def test_peak_rates_are_in_the_state():
    optimizer = build_optimizer(0.0, 0.0, schedule("constant"))
    state = with_peak_rates(optimizer.init(PARAMS), {"backbone": jnp.float32(0.5)})
    updates, state = optimizer.update(GRADS, state, PARAMS, step=jnp.int32(0))
    np.testing.assert_allclose(updates["backbone"]["conv1"]["kernel"], [-5.0])
    np.testing.assert_allclose(updates["gate"]["fc1"]["kernel"], [-20.0])


def test_adamw_as_pytorch():
    """Five steps of a kernel and a bias, which does not decay."""
    torch = pytest.importorskip("torch")
    draw = np.random.default_rng(0).standard_normal
    params = {"classifier": {"fc": {"kernel": draw((3, 2)), "bias": draw(2)}}}
    params = jax.tree.map(np.float32, params)
    theirs = {name: torch.tensor(leaf) for name, leaf in params["classifier"]["fc"].items()}
    groups = [{"params": [theirs["kernel"]]}, {"params": [theirs["bias"]], "weight_decay": 0.0}]
    peer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
    constant = schedule("constant")
    optimizer = build_optimizer(0.9, 0.1, constant, 0, name="adamw", decays_all=False)
    state = with_peak_rates(optimizer.init(params), {"head": jnp.float32(0.01)})
    for _ in range(5):
        grads = jax.tree.map(lambda leaf: np.float32(draw(leaf.shape)), params)
        for name, leaf in theirs.items():
            leaf.grad = torch.tensor(grads["classifier"]["fc"][name])
        peer.step()
        updates, state = optimizer.update(grads, state, params, step=jnp.int32(0))
        params = jax.tree.map(lambda w, u: w + u, params, updates)
    for name, leaf in theirs.items():
        np.testing.assert_allclose(params["classifier"]["fc"][name], leaf, rtol=1e-5)


def test_momentum_and_decay_as_pytorch():
    optimizer = build_optimizer(0.9, 0.01, schedule("constant"), 0)
    first, _ = after(optimizer, PARAMS, GRADS)
    second, _ = after(optimizer, PARAMS, GRADS, steps=2)
    # v1 = g + decay w = 10.01; v2 = 0.9 v1 + 10.01 = 19.019
    np.testing.assert_allclose(first["backbone"]["conv1"]["kernel"], [-10.01], rtol=1e-6)
    np.testing.assert_allclose(second["backbone"]["conv1"]["kernel"], [-19.019], rtol=1e-6)
    np.testing.assert_allclose(second["gate"]["fc1"]["kernel"], [-1.9 * 20.02], rtol=1e-6)


def test_what_is_frozen_in_a_step_keeps_its_momentum():
    optimizer = build_optimizer(0.9, 0.5, schedule("constant"), 0)
    frozen = {"backbone": {"conv1": {"kernel": True}}, "gate": {"fc1": {"kernel": False}}}
    updates, state = after(optimizer, PARAMS, GRADS, frozen=frozen)
    assert float(updates["backbone"]["conv1"]["kernel"][0]) == 0.0  # and no weight decay
    np.testing.assert_allclose(updates["gate"]["fc1"]["kernel"], [-21.0])
    updates, _ = optimizer.update(GRADS, state, PARAMS, step=jnp.int32(1))
    np.testing.assert_allclose(updates["backbone"]["conv1"]["kernel"], [-10.5])
    np.testing.assert_allclose(updates["gate"]["fc1"]["kernel"], [-1.9 * 21.0])


def test_pull_to_start_by_hand():
    """The backbone is pulled to where it began and no longer to 0; the head still is."""
    optimizer = build_optimizer(0.0, 0.01, schedule("constant"), 0, l2_sp=0.5)
    state = optimizer.init(PARAMS)
    moved = {**PARAMS, "backbone": {"conv1": {"kernel": jnp.array([3.0])}}}
    updates, state = optimizer.update(GRADS, state, moved, step=jnp.int32(0))
    # 10 + 0.5 (3 - 1), and 20 + 0.01 * 2.
    np.testing.assert_allclose(updates["backbone"]["conv1"]["kernel"], [-11.0], rtol=1e-6)
    np.testing.assert_allclose(updates["gate"]["fc1"]["kernel"], [-20.02], rtol=1e-6)
    again, _ = optimizer.update(GRADS, state, PARAMS, step=jnp.int32(1))
    np.testing.assert_allclose(again["backbone"]["conv1"]["kernel"], [-10.0], rtol=1e-6)


NORMS = {
    "backbone": {
        "conv1": {"kernel": jnp.ones((2, 3))},
        "layer1": {"0": {"bn1": {"scale": jnp.ones(5)}, "conv1": {"kernel": jnp.ones(7)}}},
    },
    "classifier": {"fc": {"kernel": jnp.ones((4, 2))}},
}


def test_batch_norm_only():
    groups = parameter_groups("batch_norm")
    assert label_parameters(NORMS, groups)["backbone"] == {
        "conv1": {"kernel": "frozen"},
        "layer1": {"0": {"bn1": {"scale": "backbone"}, "conv1": {"kernel": "frozen"}}},
    }
    optimizer = build_optimizer(0.9, 0.5, schedule("constant"), groups=groups)
    updates, _ = after(optimizer, NORMS, NORMS)
    assert float(jnp.abs(updates["backbone"]["conv1"]["kernel"]).max()) == 0  # no weight decay
    np.testing.assert_allclose(updates["backbone"]["layer1"]["0"]["bn1"]["scale"], -1.5)
    np.testing.assert_allclose(updates["classifier"]["fc"]["kernel"], -1.5)


def test_trainable_parameters_by_hand():
    norms = parameter_groups("batch_norm")
    assert count_trainable(NORMS, parameter_groups()) == 6 + 5 + 7 + 8
    assert count_trainable(NORMS, parameter_groups(), ["backbone/.*"]) == 8
    assert count_trainable(NORMS, norms) == 5 + 8


def test_stem_and_first_stages_are_frozen():
    group = {"kernel": jnp.ones(2)}
    names = ("conv1", "bn1", "layer1", "layer2", "layer12")
    params = {"backbone": dict.fromkeys(names, group)}
    groups = parameter_groups(frozen_stages=1)
    labels = label_parameters(params, groups)["backbone"]
    found = {name: leaf["kernel"] for name, leaf in labels.items()}
    frozen = dict.fromkeys(("conv1", "bn1", "layer1"), "frozen")
    assert found == frozen | dict.fromkeys(("layer2", "layer12"), "backbone")
    assert count_trainable(params, groups) == 4

"""Rates with literal numbers; SGD against PyTorch's definition, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.training.optimizer import (
    build_optimizer,
    group_labels,
    keep_group,
    relative_schedule,
    trained_parameters,
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
    assert group_labels(PARAMS) == {
        "backbone": {"conv1": {"kernel": "backbone"}},
        "gate": {"fc1": {"kernel": "head"}},
    }
    with pytest.raises(ValueError, match="parameters neck belong to no group"):
        group_labels({**PARAMS, "neck": {}})


def test_frozen_backbone_has_rate_zero():
    optimizer = build_optimizer(0.9, 0.0, schedule("constant"), frozen_steps=3)
    rates = [(float(optimizer.schedules["backbone"](s)), float(optimizer.schedules["head"](s)))
             for s in (0, 2, 3)]  # fmt: skip
    assert rates == [(0.0, 1.0), (0.0, 1.0), (1.0, 1.0)]


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
    state = optimizer.direction.init(params)
    for _ in range(5):
        grads = jax.tree.map(lambda leaf: np.float32(draw(leaf.shape)), params)
        for name, leaf in theirs.items():
            leaf.grad = torch.tensor(grads["classifier"]["fc"][name])
        peer.step()
        directions, state = optimizer.direction.update(grads, state, params)
        params = jax.tree.map(lambda w, d: w - np.float32(0.01) * d, params, directions)
    for name, leaf in theirs.items():
        np.testing.assert_allclose(params["classifier"]["fc"][name], leaf, rtol=1e-5)


def test_momentum_and_decay_as_pytorch():
    optimizer = build_optimizer(0.9, 0.01, schedule("constant"), 0)
    state = optimizer.direction.init(PARAMS)
    first, state = optimizer.direction.update(GRADS, state, PARAMS)
    second, _ = optimizer.direction.update(GRADS, state, PARAMS)
    # v1 = g + decay w = 10.01; v2 = 0.9 v1 + 10.01 = 19.019
    np.testing.assert_allclose(first["backbone"]["conv1"]["kernel"], [10.01], rtol=1e-6)
    np.testing.assert_allclose(second["backbone"]["conv1"]["kernel"], [19.019], rtol=1e-6)
    np.testing.assert_allclose(second["gate"]["fc1"]["kernel"], [1.9 * 20.02], rtol=1e-6)


def test_keep_group_keeps_momentum():
    optimizer = build_optimizer(0.9, 0.0, schedule("constant"), 0)
    old = optimizer.direction.init(PARAMS)
    _, new = optimizer.direction.update(GRADS, old, PARAMS)
    kept = keep_group(new, old, "backbone")
    directions, _ = optimizer.direction.update(GRADS, kept, PARAMS)
    np.testing.assert_allclose(directions["backbone"]["conv1"]["kernel"], [10.0])
    np.testing.assert_allclose(directions["gate"]["fc1"]["kernel"], [38.0])


def test_pull_to_start_by_hand():
    """The trunk is pulled to where it began and no longer to 0; the head still is."""
    optimizer = build_optimizer(0.0, 0.01, schedule("constant"), 0, l2_sp=0.5)
    state = optimizer.direction.init(PARAMS)
    moved = {**PARAMS, "backbone": {"conv1": {"kernel": jnp.array([3.0])}}}
    directions, state = optimizer.direction.update(GRADS, state, moved)
    # 10 + 0.5 (3 - 1), and 20 + 0.01 * 2.
    np.testing.assert_allclose(directions["backbone"]["conv1"]["kernel"], [11.0], rtol=1e-6)
    np.testing.assert_allclose(directions["gate"]["fc1"]["kernel"], [20.02], rtol=1e-6)
    again, _ = optimizer.direction.update(GRADS, state, PARAMS)
    np.testing.assert_allclose(again["backbone"]["conv1"]["kernel"], [10.0], rtol=1e-6)


NORMS = {
    "backbone": {
        "conv1": {"kernel": jnp.ones((2, 3))},
        "layer1": {"0": {"bn1": {"scale": jnp.ones(5)}, "conv1": {"kernel": jnp.ones(7)}}},
    },
    "classifier": {"fc": {"kernel": jnp.ones((4, 2))}},
}


def test_batch_norm_only():
    optimizer = build_optimizer(0.9, 0.5, schedule("constant"), 0, trainable="batch_norm")
    assert optimizer.labels(NORMS)["backbone"] == {
        "conv1": {"kernel": "still"},
        "layer1": {"0": {"bn1": {"scale": "backbone"}, "conv1": {"kernel": "still"}}},
    }
    directions, _ = optimizer.direction.update(NORMS, optimizer.direction.init(NORMS), NORMS)
    trunk = directions["backbone"]
    assert float(jnp.abs(trunk["conv1"]["kernel"]).max()) == 0  # and no weight decay
    np.testing.assert_allclose(trunk["layer1"]["0"]["bn1"]["scale"], 1.5)
    np.testing.assert_allclose(directions["classifier"]["fc"]["kernel"], 1.5)


def test_trained_parameters_by_hand():
    everything = build_optimizer(0.9, 0.0, schedule("constant"), 0)
    norms = build_optimizer(0.9, 0.0, schedule("constant"), 0, trainable="batch_norm")
    assert trained_parameters(everything, NORMS, is_trunk_frozen=False) == 6 + 5 + 7 + 8
    assert trained_parameters(everything, NORMS, is_trunk_frozen=True) == 8
    assert trained_parameters(norms, NORMS, is_trunk_frozen=False) == 5 + 8


def test_stem_and_first_stages_stand_still():
    group = {"kernel": jnp.ones(2)}
    params = {"backbone": {"conv1": group, "bn1": group, "layer1": group, "layer2": group}}
    optimizer = build_optimizer(0.9, 0.5, schedule("constant"), 0, frozen_stages=1)
    labels = optimizer.labels(params)["backbone"]
    groups = {name: leaf["kernel"] for name, leaf in labels.items()}
    assert groups == {"conv1": "still", "bn1": "still", "layer1": "still", "layer2": "backbone"}
    assert trained_parameters(optimizer, params, is_trunk_frozen=False) == 2

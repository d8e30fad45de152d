"""Micro-batches against the whole batch, and blocks that are computed twice: for less memory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.arrays import Batch
from gtn_jax.config import override
from gtn_jax.data.augment import evaluation_transform, training_transform
from gtn_jax.data.targets import batch_transform
from gtn_jax.devices import data_mesh, put_batch, replicate
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.models.gtn import GTN, init_variables, variable_shapes
from gtn_jax.training.accumulation import Gradient, accumulate
from gtn_jax.training.loop import run
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.setup import build_programs
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step
from tests.collectives import collectives
from tests.plain_networks import build_model

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
PLAIN = evaluation_transform(MEAN, STD)
RANDOM = training_transform(MEAN, STD, random_flip=True, random_shift_pixels=2)
MODEL = GTN("tiny", 5, gate_reduction=4, gate_dropout=0.0, classifier_dropout=0.0)
OPTIMIZER = build_optimizer(
    0.9, 1e-4, relative_schedule("constant", 1, 1, 0.0, (), 0.1), frozen_steps=0
)


def batch_of(size: int, padded: int = 0) -> Batch:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (size, 16, 16, 3), dtype=np.uint8)
    mask = np.ones(size, np.float32)
    mask[size - padded :] = 0
    return Batch(images, generator.integers(0, 5, size).astype(np.int32), mask)


@pytest.fixture(scope="module")
def start():
    return create_state(init_variables(MODEL, 0), OPTIMIZER, 0.1, seed=0)


def build(transform=RANDOM, model=MODEL, loss=gtn_loss(0.2), mixup=0.0, **options):  # noqa: B008
    of_batch = batch_transform(transform, model.num_classes, mixup=mixup)
    step = make_train_step(model, OPTIMIZER, of_batch, loss, **options)
    # Compiling is most of these tests' time, and running next to nothing.
    return jax.jit(step, compiler_options={"xla_backend_optimization_level": 0})


def close(one, other, rtol=2e-5, atol=2e-6) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def trees(state):
    return state.params, state.batch_stats, state.opt_state


class Toy(NamedTuple):
    rows: jax.Array
    mask: jax.Array


@pytest.mark.parametrize(
    ("size", "rows", "expected"),
    [
        (6, None, [[0, 1, 2, 3, 4, 5]]),
        (6, 6, [[0, 1, 2, 3, 4, 5]]),
        (6, 3, [[0, 2, 4], [1, 3, 5]]),
        (7, 3, [[0, 1, 2], [3, 5], [4, 6]]),
        (1, 2, [[0]]),
    ],
)
def test_rows_of_each_part(size, rows, expected):
    """Each row once; every part has its own key; statistics go from one to the next."""

    def differentiate(part, stats, key, images):
        assert part.rows.shape[0] in {len(part) for part in expected}
        seen = jnp.zeros(size, jnp.int32).at[part.rows].set(stats)
        count = jnp.int32(part.rows.shape[0])
        loss = jax.random.uniform(key) / images
        return Gradient(seen, loss, count, 2 * loss), stats + 1

    batch = Toy(jnp.arange(size), jnp.ones(size))
    zeros, key = jnp.zeros(size, jnp.int32), jax.random.key(1)
    found, stats = accumulate(differentiate, zeros, batch, jnp.int32(1), key, rows)
    order = {row: number for number, part in enumerate(expected, 1) for row in part}
    assert found.grads.tolist() == [order[row] for row in range(size)]
    assert (int(found.correct), int(stats)) == (size, len(expected) + 1)
    keys = [key] if len(expected) == 1 else [jax.random.fold_in(key, i) for i in range(stats - 1)]
    np.testing.assert_allclose(found.loss * size, sum(map(jax.random.uniform, keys)), rtol=1e-6)
    np.testing.assert_allclose(found.classifier_loss, 2 * found.loss, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "padded", "rows", "mixup"),
    [
        (5, 1, 3, 1.0),
        *(pytest.param(*case, marks=pytest.mark.release)
          for case in [(8, 0, 4, 0.0), (8, 1, 2, 1.0), (7, 0, 3, 0.0)]),
    ],
)  # fmt: skip
def test_without_statistics_of_the_batch_it_is_the_whole_batch(start, size, padded, rows, mixup):
    """Also with random and mixed images, rows that do not count, and parts of two sizes."""

    def loss(params, outputs, batch):
        found = gtn_loss(0.2)(params, outputs, batch)
        penalty = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params["gate"]))
        return found._replace(total=found.total + penalty)

    options = {"loss": loss, "mixup": mixup, "batch_norm": "running"}
    batch = batch_of(size, padded)
    whole, expected = build(**options)(start, batch)
    parts, metrics = build(**options, micro_batch_size=rows)(start, batch)
    close(trees(parts), trees(whole))
    close(metrics, expected)
    assert float(expected["gradient_norm"]) > 0.1


def test_batch_norm_has_the_statistics_of_each_part(start):
    """As two steps at rate 0 on rows 0, 2, ... and 1, 3, ...: running statistics, mean gradient."""
    still, batch = start.at_rate(jnp.float32(0)), batch_of(8)
    step = build(PLAIN)
    state, losses, momenta = still, [], []
    for part in (0, 1):
        rows = Batch(*(array[part::2] for array in batch[:3]))
        # Momentum anew, to be what this part's gradient is.
        state, metrics = step(state.replace(opt_state=still.opt_state), rows)
        losses.append(float(metrics["loss"]))
        momenta.append(state.opt_state)
    found, metrics = build(PLAIN, micro_batch_size=4)(still, batch)
    close(found.batch_stats, state.batch_stats)
    close(found.opt_state, jax.tree.map(lambda a, b: (a + b) / 2, *momenta))
    np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=1e-6)

    @jax.jit
    def loss_of_the_whole(variables):
        images = PLAIN(jax.random.key(0), batch.images)
        outputs, _ = MODEL.apply(variables, images, train=True, mutable=["batch_stats"])
        return gtn_loss(0.2)({}, outputs, batch).total

    whole = float(loss_of_the_whole(start.variables))
    assert abs(whole / float(metrics["loss"]) - 1) > 1e-4


def test_each_device_has_its_rows_of_every_part_already(start):
    """Four devices agree with one, and nothing but sums crosses between them."""
    step, results = build(micro_batch_size=8), {}
    for devices in (1, 4):
        mesh = data_mesh(devices)
        state, batch = replicate(start, mesh), put_batch(batch_of(16), mesh)
        compiled = step.lower(state, batch).compile()
        results[devices] = compiled(state, batch)
        kinds = {kind for kind, _ in collectives(compiled.as_text())}
        assert kinds == ({"all-reduce"} if devices == 4 else set())
    close(*(trees(state) for state, _ in results.values()), rtol=1e-4, atol=1e-5)
    close(*(metrics for _, metrics in results.values()), rtol=1e-4)


def test_blocks_computed_twice_change_nothing(start):
    """Start, gradients, and running statistics, which the second pass must not move again."""
    twice = MODEL.clone(remat=True)
    for a, b in zip(
        jax.tree.leaves_with_path(init_variables(twice, 0)),
        jax.tree.leaves_with_path(start.variables),
        strict=True,
    ):
        assert a[0] == b[0]
        np.testing.assert_array_equal(a[1], b[1])
    plain, expected = build()(start, batch_of(8))
    state, metrics = build(model=twice)(start, batch_of(8))
    close(trees(state), trees(plain))
    close(metrics, expected)


def test_blocks_computed_twice_are_not_kept():
    """Bytes that go from the forward to the backward pass. XLA for CPUs undoes it afterwards.

    Six blocks of 8 channels: their insides are most of what a backward pass needs.
    """
    BACKBONES["deep"] = ResNetShape("basic", (6,), width=8, stem="small")
    deep = GTN("deep", 5, auxiliary=False)

    def kept(model) -> int:
        variables = variable_shapes(model)
        images, key = jnp.zeros((32, 16, 16, 3)), jax.random.key(0)

        def backward(variables):
            def loss(params):
                outputs, _ = model.apply(
                    variables | {"params": params}, images, True,
                    mutable=["batch_stats"], rngs={"dropout": key},
                )  # fmt: skip
                return jnp.sum(outputs.logits)

            return jax.vjp(loss, variables["params"])[1]

        leaves = jax.tree.leaves(jax.eval_shape(backward, variables))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

    plain, twice = kept(deep), kept(deep.clone(remat=True))
    map_bytes = 4 * 32 * 16 * 16 * 8
    assert plain > 6 * 4 * map_bytes  # two convolutions with BatchNorm and ReLU a block
    assert 6 * map_bytes < twice < 12 * map_bytes


def test_micro_batches_take_the_memory_of_one(monkeypatch):
    """Temporary bytes of the program with the loop of accelerators, which a CPU would not get."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    BACKBONES["deep"] = ResNetShape("basic", (2,), width=8, stem="small")
    deep = GTN("deep", 5, auxiliary=False)
    shapes = jax.eval_shape(lambda v: create_state(v, OPTIMIZER, 0.1, 0), variable_shapes(deep))
    images = np.zeros((32, 16, 16, 3), np.uint8)
    batch = Batch(images, np.zeros(32, np.int32), np.ones(32, np.float32))

    def temporary(rows) -> int:
        compiled = build(PLAIN, deep, micro_batch_size=rows).lower(shapes, batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(8) < 0.4 * temporary(None)


@pytest.fixture
def in_parts(tiny_config):
    """Batches of 12, three parts each; of 40 images the last batch has 4."""
    return override(
        tiny_config,
        {
            "data.batch_size": 12,
            "data.last_batch": "keep",
            "training.accumulation_steps": 3,
            "training.remat": "blocks",
            "training.epochs": 1,
            "training.freeze_epochs": 0,
        },
    )


def test_what_a_config_builds(in_parts):
    model, _, preprocessing = build_model(in_parts, 10)
    assert model.remat
    programs = build_programs(in_parts, model, preprocessing, 4, batch_size=12)
    assert programs is build_programs(in_parts, model, preprocessing, 4)
    assert programs is not build_programs(in_parts, model, preprocessing, 4, batch_size=6)


@pytest.mark.slow
def test_a_run_in_micro_batches(in_parts, tmp_path):
    """On four devices, which share every part."""
    assert run(in_parts, tmp_path / "run", quiet=True)["steps"] == 4

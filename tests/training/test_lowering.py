"""The steps for machines that are not here: lowered for GPU and TPU, compiled for TPU v5e.

Nothing of this executes there. What is counted in the programs is counted by hand as well. The
compiled one needs libtpu, which needs no TPU; docs/devices.md has the command and the figures.
"""

import collections
import importlib.util
import math
import re

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import topologies
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gtn_jax.arrays import Batch
from gtn_jax.data.augment import evaluation_transform, training_transform
from gtn_jax.data.targets import batch_transform
from gtn_jax.models.gtn import GTN
from gtn_jax.training.forward_steps import make_evaluation_step, make_forward
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step

PLATFORMS = ["cuda", "tpu"]
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def training_program(backbone: str, rows: int, side: int, dtype=jnp.float32):
    """A jitted training step and the shapes it takes; no array is made."""
    model = GTN(backbone, 10, dtype=dtype)
    constant = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    optimizer = build_optimizer(0.9, 1e-4, constant, frozen_steps=0)
    transform = training_transform(MEAN, STD, random_flip=True, random_shift_pixels=2)
    step = jax.jit(
        make_train_step(model, optimizer, batch_transform(transform), gtn_loss(0.2)),
        donate_argnums=0,
    )

    def start():
        variables = model.init(jax.random.key(0), jnp.zeros((1, side, side, 3)), False)
        return create_state(variables, optimizer, 0.1, seed=0)

    batch = Batch(
        jax.ShapeDtypeStruct((rows, side, side, 3), jnp.uint8),
        jax.ShapeDtypeStruct((rows,), jnp.int32),
        jax.ShapeDtypeStruct((rows,), jnp.float32),
    )
    return model, step, (jax.eval_shape(start), batch)


def count(exported: jax.export.Exported) -> tuple[int, int, int]:
    """Convolutions, matrix products, and calls of what only some platforms have."""
    text = exported.mlir_module()
    names = ("stablehlo.convolution", "stablehlo.dot_general", "stablehlo.custom_call")
    convolutions, products, calls = (
        len(re.findall(re.escape(name) + r"\b", text)) for name in names
    )
    return convolutions, products, calls


def lower(backbone: str, side: int, platform: str):
    """Training and evaluation step of one backbone, exported with the typed key in the state."""
    model, step, (state, batch) = training_program(backbone, 8, side)
    assert jnp.issubdtype(state.key.dtype, jax.dtypes.prng_key)
    evaluation = jax.jit(make_evaluation_step(make_forward(model, evaluation_transform(MEAN, STD))))
    trained = jax.export.export(step, platforms=[platform])(state, batch)
    evaluated = jax.export.export(evaluation, platforms=[platform])(state.variables, batch)
    for exported in (trained, evaluated):
        assert exported.platforms == (platform,)
    # State in, state out: a program whose outputs fit its inputs can run in a loop.
    leaves = len(jax.tree.leaves(state))
    assert trained.out_avals[:leaves] == trained.in_avals[:leaves]
    return trained, evaluated


@pytest.mark.parametrize("platform", PLATFORMS)
def test_tiny_steps_lower(platform):
    """Forward: 3x3 convolutions 1 + 2 * 2; products: 1 projection, 2 gate, 2 heads.

    Backward, each has a gradient for its kernel and, unless it sees the images, for its input.
    Evaluation does without the auxiliary head.
    """
    trained, evaluated = lower("tiny", 16, platform)
    assert count(trained) == (5 + 5 + 4, 3 * 5, 0)
    assert count(evaluated) == (5, 4, 0)


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
def test_resnet50_steps_lower(platform):
    """17 convolutions larger than 1x1; products: 36 1x1 convolutions, 2 gate, 2 heads."""
    trained, evaluated = lower("resnet50", 224, platform)
    assert count(trained) == (17 + 17 + 16, 3 * 40, 0)
    assert count(evaluated) == (17, 39, 0)


def collectives(text: str) -> dict[str, tuple[int, int]]:
    """Kind and dtype of a compiled program's collectives -> how many, bytes of their results."""
    size = {"f32": 4, "bf16": 2, "s32": 4}
    kinds = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
    numbers, octets = collections.Counter(), collections.Counter()
    for line in text.splitlines():
        found = re.match(rf"\s*(?:ROOT )?%\S+ = (.*?) ({kinds})(?:-start)?\(", line)
        if not found:
            continue
        shapes = re.findall(r"\b(f32|bf16|s32)\[([\d,]*)\]", found[1])
        name = f"{found[2]} {shapes[0][0]}"
        numbers[name] += 1
        for dtype, sides in shapes:
            octets[name] += size[dtype] * math.prod(map(int, filter(None, sides.split(","))))
    return {name: (numbers[name], octets[name]) for name in numbers}


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="libtpu is not installed")
def test_resnet50_compiles_for_four_tpus():
    """ResNet-50, 64 images of 224 pixels, bfloat16, v5e 2x2: work, memory and collectives."""
    topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=topology.devices)

    def on_mesh(tree, spec):
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
        )

    # Flax's BatchNorm promotes bfloat16 to float32 without saying so.
    with jax.numpy_dtype_promotion("standard"):
        _, step, (state, batch) = training_program("resnet50", 64, 224, jnp.bfloat16)
        lowered = step.lower(on_mesh(state, PartitionSpec()), on_mesh(batch, PartitionSpec("data")))
    program = lowered.compile()
    flops = program.cost_analysis()["flops"]
    memory = program.memory_analysis()
    moved = collectives(program.as_text())
    print(f"\na device: {flops / 1e9:.1f} GFLOP, {memory}\n{moved}")

    # torchvision counts 4.09 G multiply-adds an image; three passes, but none to the images.
    stem = 112 * 112 * 64 * 7 * 7 * 3
    assert abs(flops / (16 * 2 * (3 * 4.09e9 - stem)) - 1) < 0.03
    # Parameters and momentum, running statistics, uint8 images; layouts pad a little.
    parameters = 23_508_032 + 2 * 2048 * 128 + 2048 * 10 + 1024 * 10
    inputs = 8 * parameters + 4 * 53_120 + 16 * 224 * 224 * 3
    assert 1 <= memory.argument_size_in_bytes / inputs < 1.02
    assert memory.alias_size_in_bytes > 8 * parameters  # donated: not held twice
    assert memory.argument_size_in_bytes + memory.temp_size_in_bytes < 2 * 2**30  # v5e: 16 GiB
    # The kernels of the 53 convolutions: their gradients cross the wires in bfloat16.
    assert moved["all-reduce bf16"] == (1, 2 * 23_454_912)
    assert set(moved) == {"all-reduce bf16", "all-reduce f32", "all-reduce s32"}

"""What is counted: parameters of the peers, multiply-adds, collectives, the roofline."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.benchmark.collectives import collectives
from gtn_jax.benchmark.convolutions import ConvShape, convolution_shapes, convolution_table
from gtn_jax.benchmark.flax_peer import SHAPES, ResNet
from gtn_jax.benchmark.growth import growth_plan
from gtn_jax.benchmark.plan import choose, cpu_plan, gpu_plan, quick_plan
from gtn_jax.benchmark.programs import count_collectives
from gtn_jax.benchmark.roofline import rate
from gtn_jax.benchmark.rows import row_from_json
from gtn_jax.benchmark.spec import Spec
from gtn_jax.models.backbones import BACKBONES, ResNetShape

HLO = """
ENTRY %main (p0: f32[8,3]) -> f32[8,3] {
  %all-reduce.1 = f32[64]{0} all-reduce(f32[64]{0} %x), channel_id=1, to_apply=%add
  %ar = (f32[3,3,4]{2,1,0}, bf16[10]{0}) all-reduce(%a, %b), replica_groups={{0,1}}, to_apply=%add
  %s = f32[5]{0} all-reduce-start(f32[5]{0} %y), to_apply=%add
  %d = f32[5]{0} all-reduce-done(f32[5]{0} %s)
  %g = (f32[2,4]{1,0}, f32[8,4]{1,0}) all-gather-start(f32[2,4]{1,0} %z), dimensions={0}
  %gd = f32[8,4]{1,0} all-gather-done(%g)
  %p = (u8[16]{0}, u8[16]{0}, u32[], u32[]) collective-permute-start(u8[16]{0} %w)
  %r = pred[] all-reduce(pred[] %flag), to_apply=%or
  ROOT %add.7 = f32[8,3]{1,0} add(f32[8,3]{1,0} %p0, f32[8,3]{1,0} %all-reduce.1)
}
"""


def test_collectives_of_a_literal_program():
    assert collectives(HLO) == [
        ("all-reduce", 4 * 64),
        ("all-reduce", 4 * 36 + 2 * 10),
        ("all-reduce", 4 * 5),
        ("all-gather", 4 * 32),
        ("collective-permute", 16),
        ("all-reduce", 1),
    ]
    assert count_collectives(HLO)["all-reduce"] == {"count": 4, "bytes": 256 + 164 + 20 + 1}


def test_collectives_of_a_compiled_program():
    """Each device holds a quarter of the rows; their sum crosses once, as float32 3."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    x = jax.device_put(jnp.ones((8, 3), jnp.float32), rows)
    compiled = jax.jit(lambda x: jnp.sum(x, axis=0)).lower(x).compile()
    assert collectives(compiled.as_text()) == [("all-reduce", 12)]


def test_flax_peer_is_resnet50():
    model = ResNet(classes=1000, **SHAPES["resnet50"])
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False)
    )
    leaves = jax.tree.leaves(shapes["params"])
    assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == 25_557_032


def test_torch_peer_is_the_authors_model(reference):
    """The same parameters, shape by shape, as the copy that parity is tested with."""
    from gtn_jax.benchmark.torch_peer import gated_resnet

    ours = sorted(tuple(p.shape) for p in gated_resnet("resnet50", 7).parameters())
    theirs = sorted(tuple(p.shape) for p in reference.TorchGTN(7).parameters())
    assert ours == theirs


@pytest.mark.parametrize("backbone", ["resnet8_wide", "resnet20"])
def test_torch_peer_of_small_nets(reference, backbone):
    """As many trunk parameters as ours, and logits of the right shape in either layout."""
    import torch

    from gtn_jax.benchmark.torch_peer import gated_resnet
    from gtn_jax.models.backbones import build_backbone

    model = gated_resnet(backbone, 3)
    counted = sum(p.numel() for part in (model.early, model.late) for p in part.parameters())
    trunk = build_backbone(backbone)
    params = jax.eval_shape(lambda: trunk.init(jax.random.key(0), jnp.ones((1, 32, 32, 3)), False))
    assert counted == sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params["params"]))
    images = torch.zeros(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    logits, auxiliary = model(images)
    assert logits.shape == auxiliary.shape == (2, 3)


def test_multiply_adds_of_resnet50():
    """torchvision's 4.09 G without its classifier's 2,048,000."""
    shape = BACKBONES["resnet50"]
    assert isinstance(shape, ResNetShape)
    found = convolution_shapes(shape, 224)
    assert sum(found.values()) == 53
    assert sum(n * conv.multiply_adds for conv, n in found.items()) == 4_087_136_256
    assert found[ConvShape(56, 64, 64, 3, 1)] == 3
    assert found[ConvShape(224, 3, 64, 7, 2)] == 1


def test_roofline_of_an_h200():
    """About the 10,300 images/s that counting by kernel gave (bfloat16, batch 64)."""
    shape = BACKBONES["resnet50"]
    assert isinstance(shape, ResNetShape)
    found = rate(shape, 224, 64, 2, copy=4.3e12, product=790e12)
    assert 9_300 < found < 11_300
    # Twice the bandwidth is not quite twice the rate: some kernels wait for the product.
    assert 1.5 < rate(shape, 224, 64, 2, copy=8.6e12, product=790e12) / found < 2


def test_convolution_table_has_every_pass():
    spec = Spec("convolutions", backbone="tiny", batch_size=2, image_size=4)
    rows = [row_from_json(row) for row in convolution_table(spec).rows]
    passes = [row.name.split("/")[5] for row in rows if row.unit == "GFLOP/s"]
    # The stem; one shape in the first stage; two and a projection in the second.
    assert passes.count("forward") == passes.count("weight_gradient") == 5
    assert passes.count("input_gradient") == 4
    ratios = {row.name.split("/", 5)[5]: row for row in rows if row.unit == "ratio"}
    lowest = min(
        row.extra["of_matmul"]
        for row in rows
        if "/weight_gradient/" in row.name and row.unit != "ratio" and "/3to8" not in row.name
    )
    assert ratios["weight_gradient/minimum"].value == lowest
    assert ratios["weight_gradient/mean"].value >= 0


def test_plans_name_no_row_twice():
    for plan in (cpu_plan(), gpu_plan(), quick_plan(), growth_plan("cpu")):
        for group in plan:
            keys = [(spec.name, spec.label) for spec in group.specs]
            assert len(set(keys)) == len(keys), group.name
    assert [group.name for group in choose(cpu_plan(), ["frozen"])] == ["frozen"]
    with pytest.raises(ValueError, match="did you mean frozen"):
        choose(cpu_plan(), ["frozn"])

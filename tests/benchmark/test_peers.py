"""The peers are the networks that they stand for: parameters, counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.benchmark.flax_peer import ResNet
from gtn_jax.benchmark.torch_peer import gated_resnet
from gtn_jax.models.backbones import BACKBONES, ResNetShape, build_backbone


def count(tree) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def test_flax_peer_is_resnet50():
    shape = BACKBONES["resnet50"]
    assert isinstance(shape, ResNetShape)
    model = ResNet(shape, 1000)
    images = jnp.zeros((1, 64, 64, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    assert count(variables["params"]) == 25_557_032


def test_torch_peer_is_the_authors_model(reference):
    """The same parameters, shape by shape, as the copy that parity is tested with."""
    ours = sorted(tuple(p.shape) for p in gated_resnet("resnet50", 7).parameters())
    theirs = sorted(tuple(p.shape) for p in reference.TorchGTN(7).parameters())
    assert ours == theirs


@pytest.mark.parametrize("backbone", ["resnet8_wide", "resnet20"])
def test_torch_peer_of_small_nets(reference, backbone):
    """As many parameters of the backbone as ours, and logits of the right shape."""
    import torch

    model = gated_resnet(backbone, 3)
    counted = sum(p.numel() for part in (model.early, model.late) for p in part.parameters())
    ours = build_backbone(backbone)
    variables = jax.eval_shape(
        lambda: ours.init(jax.random.key(0), jnp.ones((1, 32, 32, 3)), False)
    )
    assert counted == count(variables["params"])
    images = torch.zeros(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    logits, auxiliary = model(images)
    assert logits.shape == auxiliary.shape == (2, 3)

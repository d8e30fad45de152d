"""Parameter counts, shapes and names of the backbones in the table; numbers are in
tests/weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.models.backbones import BACKBONES, build_backbone
from gtn_jax.models.gtn import GTN

# https://pytorch.org/vision/stable/models/resnet.html lists the first five; the CIFAR ones are
# https://github.com/akamaster/pytorch_resnet_cifar10 ("0.27M", "0.46M", "0.66M", "0.85M", "1.7M").
COUNTS = {
    "resnet18": (1000, 11_689_512),
    "resnet34": (1000, 21_797_672),
    "resnet50": (1000, 25_557_032),
    "resnet101": (1000, 44_549_160),
    "resnet152": (1000, 60_192_808),
    "resnet20": (10, 269_722),
    "resnet32": (10, 464_154),
    "resnet44": (10, 658_586),
    "resnet56": (10, 853_018),
    "resnet110": (10, 1_727_962),
    # Ours, by hand: stem 1,856, stages 73,984 + 230,144 + 919,040, classifier 2,570.
    "resnet8_wide": (10, 1_227_594),
}


DEEP = {"resnet110", "resnet152"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in DEEP else ()) for name in BACKBONES],
)
def test_parameter_count(name):
    classes, expected = COUNTS[name]
    model = GTN(name, classes, gate="none", classifier_bias=True, auxiliary=False)
    images = jnp.zeros((1, 32, 32, 3))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), images, False))["params"]
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("resnet18", 64, [(16, 64), (8, 128), (4, 256), (2, 512)]),
        ("resnet50", 64, [(16, 256), (8, 512), (4, 1024), (2, 2048)]),
        ("resnet20", 32, [(32, 16), (16, 32), (8, 64)]),
    ],
)
def test_maps(name, side, expected):
    for stages in (None, len(expected) - 1):
        backbone = build_backbone(name, stages)
        images = jnp.zeros((2, side, side, 3))
        maps, _ = jax.eval_shape(
            lambda backbone=backbone, images=images: backbone.init_with_output(
                jax.random.key(0), images, True
            )
        )
        assert [found.shape for found in maps] == [(2, s, s, c) for s, c in expected[:stages]]


def test_unknown_backbone_and_too_many_stages():
    with pytest.raises(ValueError, match="unknown backbone 'resnet5O'; did you mean resnet5"):
        build_backbone("resnet5O")
    for stages in (0, 5):
        with pytest.raises(ValueError, match=f"resnet18 has 4 stages, {stages} asked for"):
            build_backbone("resnet18", stages)


def test_only_our_blocks_can_be_computed_twice(monkeypatch):
    monkeypatch.setitem(BACKBONES, "other", lambda stages, dtype, name: None)
    with pytest.raises(ValueError, match="training.remat: other is no ResNet"):
        build_backbone("other", remat=True)

"""The modules that residual trunks are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.models.resnet import ResNet, pad_shortcut


def test_small_stem_with_a_stride():
    trunk = ResNet("basic", (1, 1), width=8, stem="small", stem_stride=2)
    images = jnp.zeros((1, 16, 16, 3))
    maps, _ = jax.eval_shape(lambda: trunk.init_with_output(jax.random.key(0), images, True))
    assert [found.shape for found in maps] == [(1, 8, 8, 8), (1, 4, 4, 16)]


def test_pad_shortcut():
    x = np.arange(1, 17, dtype=np.float32).reshape(1, 4, 4, 1).repeat(2, axis=-1)
    found = pad_shortcut(jnp.asarray(x), 4, 2)
    np.testing.assert_array_equal(found[0, :, :, 1], [[1, 3], [9, 11]])
    np.testing.assert_array_equal(found[..., 1], found[..., 2])
    np.testing.assert_array_equal(found[..., [0, 3]], np.zeros((1, 2, 2, 2)))


@pytest.mark.parametrize(
    ("block", "shortcut", "blocks"),
    [
        ("basic", "projection", 1),
        pytest.param("bottleneck", "projection", 2, marks=pytest.mark.slow),
        pytest.param("basic", "pad", 2, marks=pytest.mark.slow),
    ],
)
def test_kept_channels_are_those_of_the_whole_map(block, shortcut, blocks):
    arguments = {"width": 4, "stem": "small", "shortcut": shortcut}
    whole = ResNet(block, (1, blocks), **arguments)
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    variables = jax.jit(lambda: whole.init(jax.random.key(0), images, True))()
    kept = (1, 2, 7)
    part = ResNet(block, (1, blocks), kept_channels=kept, **arguments)
    shapes = jax.eval_shape(lambda: part.init(jax.random.key(0), images, True))

    def cut(leaf, shape):
        return leaf if leaf.shape == shape.shape else leaf[..., list(kept)]

    cut_variables = jax.tree.map(cut, variables, shapes)
    found = jax.jit(lambda v: part.apply(v, images, True))(cut_variables)
    expected = jax.jit(lambda v: whole.apply(v, images, True))(variables)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1][..., list(kept)], rtol=1e-5, atol=1e-6)

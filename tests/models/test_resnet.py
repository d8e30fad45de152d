"""The modules that residual backbones are made of."""

import jax
import jax.numpy as jnp
import numpy as np

from gtn_jax.models.resnet import ResNet, pad_shortcut


def test_small_stem_with_a_stride():
    backbone = ResNet("basic", (1, 1), width=8, stem="small", stem_stride=2)
    images = jnp.zeros((1, 16, 16, 3))
    maps, _ = jax.eval_shape(lambda: backbone.init_with_output(jax.random.key(0), images, True))
    assert [found.shape for found in maps] == [(1, 8, 8, 8), (1, 4, 4, 16)]


def test_pad_shortcut():
    x = np.arange(1, 17, dtype=np.float32).reshape(1, 4, 4, 1).repeat(2, axis=-1)
    found = pad_shortcut(jnp.asarray(x), 4, 2)
    np.testing.assert_array_equal(found[0, :, :, 1], [[1, 3], [9, 11]])
    np.testing.assert_array_equal(found[..., 1], found[..., 2])
    np.testing.assert_array_equal(found[..., [0, 3]], np.zeros((1, 2, 2, 2)))

"""How layers start."""

import jax
import jax.numpy as jnp
import numpy as np

from gtn_jax.models.layers import Conv, linear


def test_starts():
    x = np.zeros((1, 8, 8, 16), np.float32)
    kernel = np.asarray(Conv(32, 3).init(jax.random.key(0), x)["params"]["kernel"])
    assert kernel.shape == (3, 3, 16, 32)
    # kaiming_normal_, fan_out: variance 2 / (9 * 32).
    np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / 288), rtol=0.05)
    layer = linear(50, "fc", use_bias=True)
    params = layer.init(jax.random.key(0), jnp.zeros((1, 100)))["params"]
    assert 0.099 < np.abs(np.asarray(params["kernel"])).max() <= 0.1
    np.testing.assert_array_equal(np.asarray(params["bias"]), np.zeros(50))

"""How layers start, and the running variance."""

import jax
import jax.numpy as jnp
import numpy as np

from gtn_jax.models.layers import BatchNorm, Conv, linear


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


def test_running_variance_of_pytorch_is_unbiased():
    """Over n = 2 x 2 x 3 values a channel, by NumPy with and without ddof."""
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype(np.float32)
    start = {"batch_stats": {"mean": jnp.zeros(4), "var": jnp.full(4, 2.0)}}
    start["params"] = {"scale": jnp.ones(4), "bias": jnp.zeros(4)}
    for unbiased in (False, True):
        norm = BatchNorm(use_running_average=False, torch_running_variance=unbiased)
        y, moved = norm.apply(start, x, mutable=["batch_stats"])
        variance = x.reshape(-1, 4).var(axis=0, ddof=int(unbiased))
        np.testing.assert_allclose(moved["batch_stats"]["var"], 1.8 + 0.1 * variance, rtol=1e-5)
        # Either way it is the biased one that normalizes.
        np.testing.assert_allclose(np.asarray(y).reshape(-1, 4).var(axis=0), 1, rtol=1e-4)

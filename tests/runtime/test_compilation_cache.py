"""Compiled programs on disk: whose folder it is, what is in it, and that they compute the same."""

import os
import zlib

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from gtn_jax.arrays import Batch
from gtn_jax.data.augment import training_transform
from gtn_jax.data.targets import batch_transform
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.runtime import compilation_cache
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step

OPTIONS = (
    "jax_enable_compilation_cache",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_entry_size_bytes",
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture
def undecided(monkeypatch):
    """As in a shell where nobody has set anything; JAX's options come back afterwards."""
    for name in compilation_cache.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", None)
    jax_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    jax_cache.reset_cache()


def test_a_new_folder_is_private(undecided, tmp_path):
    folder = tmp_path / "cache" / "xla"
    assert compilation_cache.enable(folder) is None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert jax.config.jax_compilation_cache_dir == str(folder)


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_write_to_is_not_used(undecided, tmp_path, mode):
    tmp_path.chmod(mode)
    line = compilation_cache.enable(tmp_path)
    assert line is not None
    assert f"others may write to {tmp_path}; run chmod 700 on it" in line
    assert jax.config.jax_compilation_cache_dir is None


def test_a_folder_of_another_user_is_not_used(undecided, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345678)
    assert f"{tmp_path} belongs to another user" in (compilation_cache.enable(tmp_path) or "")
    assert jax.config.jax_compilation_cache_dir is None


def test_no_folder_is_no_reason_to_stop(undecided, tmp_path):
    (tmp_path / "file").write_text("")
    assert "not kept" in (compilation_cache.enable(tmp_path / "file" / "xla") or "")
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.parametrize("name", compilation_cache.VARIABLES)
def test_the_environment_decides(undecided, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "")
    assert compilation_cache.enable(tmp_path / "xla") is None
    assert not (tmp_path / "xla").exists()
    assert jax.config.jax_compilation_cache_dir is None


def test_torn_and_too_many_entries_go(undecided, tmp_path, monkeypatch):
    content = zlib.compress(bytes(1000))
    for age, (name, kept) in enumerate(
        {"new": 1000, "torn": -3, "empty": -1000, "old": 1000}.items()
    ):
        entry = tmp_path / f"{name}-cache"
        entry.write_bytes(content[:kept])
        os.utime(entry, (1e9 - age, 1e9 - age))
    assert compilation_cache.enable(tmp_path) is None
    assert sorted(entry.name for entry in tmp_path.glob("*-cache")) == ["new-cache", "old-cache"]
    monkeypatch.setattr(compilation_cache, "LIMIT_BYTES", len(content))
    assert compilation_cache.enable(tmp_path) is None
    assert [entry.name for entry in tmp_path.glob("*-cache")] == ["new-cache"]


@pytest.mark.slow
def test_a_kept_training_step_gives_the_same_bits(undecided, tmp_path):
    """Donated state and all: compiled without a cache, into it, and read from it."""
    model = GTN("tiny", 5, gate_reduction=4)
    schedule = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    optimizer = build_optimizer(0.9, 1e-4, schedule, frozen_steps=0)
    transform = training_transform((0.5,) * 3, (0.25,) * 3, True, 2)
    variables = jax.device_get(init_variables(model, 0))
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    batch = Batch(pixels, np.arange(8, dtype=np.int32) % 5, np.ones(8, np.float32))
    hits = []

    def listen(event: str, **_) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            hits.append(event)

    def trained() -> list[np.ndarray]:
        step = jax.jit(
            make_train_step(model, optimizer, batch_transform(transform), gtn_loss(0.2)),
            donate_argnums=0,
        )
        state = create_state(jax.device_put(variables), optimizer, 0.1, seed=0)
        for _ in range(3):
            state, _ = step(state, batch)
        return jax.device_get(jax.tree.leaves((state.params, state.batch_stats, state.opt_state)))

    plain = trained()
    assert compilation_cache.enable(tmp_path / "xla") is None
    jax_cache.reset_cache()
    written = trained()
    jax.monitoring.register_event_listener(listen)
    read = trained()
    jax.monitoring.unregister_event_listener(listen)
    assert hits
    for first, second, third in zip(plain, written, read, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, third)

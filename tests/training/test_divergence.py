"""Runs in which something is no finite number: what is kept, what is said, what is best."""

import collections

import jax
import numpy as np
import pytest

from gtn_jax.config import override
from gtn_jax.data.sources import open_data
from gtn_jax.data.subsets import choose
from gtn_jax.devices import data_mesh, replicate
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import RunFolder
from gtn_jax.training import loop
from gtn_jax.training.setup import build_programs
from gtn_jax.training.state import create_state
from tests.plain_networks import build_model


def saved(config, workdir):
    """Step and leaves of the latest checkpoint."""
    model, variables, preprocessing = build_model(config, 10)
    optimizer = build_programs(config, model, preprocessing, 5).optimizer
    template = replicate(create_state(variables, optimizer, 1.0, seed=9), data_mesh(1))
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        step = checkpoints.latest_step()
        state, position = checkpoints.restore(template, step)
    return step, jax.tree.leaves((state.params, state.batch_stats, state.opt_state)), position


def spoil(monkeypatch, number: int) -> list:
    """Give batch `number`, from 0, a loss that is not finite; returns its labels when it came."""
    original, taken, labels = loop.put_batch, iter(range(10**6)), []

    def put_batch(batch, mesh):
        if next(taken) == number:
            labels.extend(batch.labels.tolist())
            batch = batch.replace(mask=np.full_like(batch.mask, np.nan))
        return original(batch, mesh)

    monkeypatch.setattr(loop, "put_batch", put_batch)
    return labels


@pytest.mark.parametrize(("every", "bad"), [(3, 7), pytest.param(100, 9, marks=pytest.mark.slow)])
def test_bad_step_ends_the_run_before_its_update(tiny_config, tmp_path, monkeypatch, every, bad):
    """Noticed when metrics are read, steps later, or else at the end of an epoch."""
    config = override(
        tiny_config,
        {
            "training.log_every_steps": every,
            "training.checkpoint_every_seconds": 3600.0,
            "training.freeze_epochs": 0,
        },
    )
    with monkeypatch.context() as patched:
        labels = spoil(patched, bad)
        with pytest.raises(ValueError, match=f"^step {bad + 1}: loss or gradient") as error:
            loop.run(config, tmp_path / "run", quiet=True, devices=1)
    assert f"last good step, {bad}, is kept" in str(error.value)
    _, names, _ = str(error.value).splitlines()
    files = names.removeprefix("its 8 images: ").split(", ")
    train = choose(open_data(config.data), config.data, config.seed)["train"]
    label_of = dict(zip(train.files.tolist(), train.labels.tolist(), strict=True))
    assert [label_of[file] for file in files] == labels

    step, leaves, position = saved(config, tmp_path / "run")
    assert step == bad == position["batches"]["next_index"]
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert all(row["step"] <= bad for row in RunFolder(tmp_path / "run").rows())
    if every == 3:
        return
    # The run that goes on from there is the one that nothing happened to.
    again = loop.run(config, tmp_path / "run", quiet=True, devices=1)
    whole = loop.run(config, tmp_path / "whole", quiet=True, devices=1)
    assert again["test_loss"] == whole["test_loss"]
    for one, other in zip(
        saved(config, tmp_path / "run")[1], saved(config, tmp_path / "whole")[1], strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_rate_that_is_too_high(tiny_config, tmp_path):
    config = override(tiny_config, {"optimizer.learning_rate": 1e30})
    with pytest.raises(ValueError, match="lower optimizer.learning_rate") as error:
        loop.run(config, tmp_path, quiet=True, devices=4)
    assert len(str(error.value).splitlines()) <= 3


@pytest.mark.parametrize("bad_steps", [{10}, pytest.param({5, 10}, marks=pytest.mark.slow)])
def test_evaluation_that_is_not_finite_is_never_best(tiny_config, tmp_path, monkeypatch, bad_steps):
    original, calls = loop.evaluate_images, collections.Counter()

    def evaluate_images(setup, variables, images, step):
        result = original(setup, variables, images, step)
        calls[step] += 1
        if step in bad_steps and calls[step] == 1:
            figures = result.figures | {"loss": float("nan"), "accuracy": 1.0}
            return result._replace(figures=figures)
        return result

    monkeypatch.setattr(loop, "evaluate_images", evaluate_images)
    config = override(tiny_config, {"training.epochs": 2, "training.freeze_epochs": 0})
    summary = loop.run(config, tmp_path, quiet=True, devices=1)
    assert summary["selected_step"] == (5 if bad_steps == {10} else 10)
    assert summary["validation_accuracy"] < 1

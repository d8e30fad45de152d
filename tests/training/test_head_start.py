"""A run begins with solved classifiers: what they are, and that step 0 is a checkpoint like any."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from gtn_jax.cli.main import main
from gtn_jax.config import override
from gtn_jax.data.images import View, load
from gtn_jax.data.sources import open_data
from gtn_jax.data.subsets import choose
from gtn_jax.inference.restore import evaluate_run, restore
from gtn_jax.models.gtn import GTN
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import RunFolder
from gtn_jax.training import head_solver, head_start, setup, start
from gtn_jax.training.loop import run
from gtn_jax.training.setup import Programs


@pytest.fixture(scope="module")
def config(tiny_config, tiny_weights):
    """40 digits; each trains as its mirror image, too."""
    return override(tiny_config, {
        "model.weights": tiny_weights, "training.head_start": "solved", "training.epochs": 2,
        "training.freeze_epochs": 0, "training.select": "val", "data.random_flip": True,
    })  # fmt: skip


@pytest.fixture(scope="module")
def views() -> list[np.ndarray]:
    """V B K, what `solved` was solved on or could have been."""
    return []


@pytest.fixture(scope="module")
def solved(config, views, tmp_path_factory):
    """The folder of a run without a training step, and its summary."""
    workdir = tmp_path_factory.mktemp("solved") / "run"
    solve_head = head_start.solve_head

    def spied(of, *arguments, **options):
        views.extend(of)
        return solve_head(of, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_start, "solve_head", spied)
        return workdir, run(override(config, {"training.epochs": 0}), workdir, quiet=True)


def pooled_of(restored, config, split, mirror=False):
    """Gated and auxiliary features of a split, and its labels."""
    parts = choose(open_data(config.data), config.data, config.seed)
    images = load(parts[split], View.of(config.data, training=False))
    batch = images.gather(np.arange(len(images)))
    mean, std = RunFolder(restored).preprocessing()
    pixels = (batch.images / np.float32(255) - np.float32(mean)) / np.float32(std)
    found = restore(restored)
    model, variables = found.model, found.variables
    if mirror:
        pixels = pixels[:, :, ::-1]
    pooled = model.apply(variables, pixels, True, method=GTN.pooled)
    gate = model.apply(variables, pixels, False).gate
    return np.asarray(pooled.final * gate), np.asarray(pooled.penultimate), batch.labels


def test_step_0_is_the_minimum_on_gated_features(solved, views, config):
    """Both classifiers against scikit-learn's, on the crop or that and its mirror image."""
    workdir, summary = solved
    params = restore(workdir).variables["params"]
    seen = [pooled_of(workdir, config, "train", mirror) for mirror in (False, True)]
    for view, (gated, _, _) in zip(views, seen, strict=True):
        np.testing.assert_allclose(view, gated, rtol=1e-4, atol=1e-5)
    seen = seen[: summary["head_views"]]
    labels = np.concatenate([labels for _, _, labels in seen])
    settings = {"C": summary["head_strength"], "tol": 1e-8, "max_iter": 10_000}

    gated = np.concatenate([gated for gated, _, _ in seen]).astype(np.float64)
    scaler = StandardScaler().fit(gated)
    theirs = LogisticRegression(**settings).fit(scaler.transform(gated), labels)
    kernel = theirs.coef_.T / np.asarray(scaler.scale_)[:, None]
    bias = theirs.intercept_ - np.asarray(scaler.mean_) @ kernel
    ours = params["classifier"]["fc"]
    expected = gated @ kernel + bias
    found = gated @ np.float64(ours["kernel"]) + np.float64(ours["bias"])
    centered = [logits - logits.mean(1, keepdims=True) for logits in (found, expected)]
    np.testing.assert_allclose(*centered, atol=2e-3)

    before = np.concatenate([before for _, before, _ in seen]).astype(np.float64)
    scale = np.sqrt((before**2).mean(0))
    auxiliary = LogisticRegression(fit_intercept=False, **settings).fit(before / scale, labels)
    expected = before / scale @ auxiliary.coef_.T
    found = before @ np.float64(params["aux_classifier"]["fc"]["kernel"])
    centered = [logits - logits.mean(1, keepdims=True) for logits in (found, expected)]
    np.testing.assert_allclose(*centered, atol=2e-3)


def test_a_run_without_a_step_is_whole(solved, config, capsys):
    workdir, summary = solved
    assert (summary["steps"], summary["selected_step"]) == (0, 0)
    assert summary["selected_on"] == "validation"
    assert summary["head_seconds"] > 0
    assert summary["trained_parameters"] == sum(
        leaf.size
        for name, tree in restore(workdir).variables["params"].items()
        for leaf in jax.tree.leaves(tree)
        if name != "backbone"
    )
    rows = [(row["step"], row["split"]) for row in RunFolder(workdir).rows()]
    assert rows == [(0, "validation")]
    assert evaluate_run(workdir, "test")["accuracy"] == summary["test_accuracy"]
    assert main(["checkpoint", "verify", str(workdir)]) == 0
    assert "step 0: ok" in capsys.readouterr().out
    # Again: the finished run, at once.
    assert run(override(config, {"training.epochs": 0}), workdir, quiet=True) == summary


class Killed(BaseException):
    """As a kill: nothing else is saved."""


def test_a_kill_after_the_solve_goes_on_bit_for_bit(solved, config, tmp_path, monkeypatch):
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    expected = run(config, straight, quiet=True)

    def killed(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Programs, "take_step", killed)
        with pytest.raises(Killed):
            run(config, cut, quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(start, "solve_start", killed)  # it is there already
        found = run(config, cut, quiet=True)
    changing = {name for name in expected if name.endswith("second") or "seconds" in name}
    assert {k: v for k, v in found.items() if k not in changing} == {
        k: v for k, v in expected.items() if k not in changing
    }
    first, second = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in RunFolder(path).rows()]
        for path in (straight, cut)
    )
    assert first == second
    assert [row["step"] for row in first].count(0) == 1
    assert first[0]["accuracy"] == solved[1]["validation_accuracy"]
    assert found["validation_accuracy"] >= first[0]["accuracy"]


def test_a_kill_before_the_save_solves_again(config, tmp_path, monkeypatch):
    """The row of step 0 was written, its checkpoint was not: one row in the end."""

    def killed(*arguments):
        raise Killed

    short = override(config, {"training.epochs": 0, "data.random_flip": "auto"})
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", killed)
        with pytest.raises(Killed):
            run(short, tmp_path, quiet=True)
    assert len(RunFolder(tmp_path).rows()) == 1
    summary = run(short, tmp_path, quiet=True)
    assert len(RunFolder(tmp_path).rows()) == 1
    # What was open is decided, and the same words find the finished run.
    assert RunFolder(tmp_path).config().data.random_flip is (summary["head_views"] == 2)
    assert run(short, tmp_path, quiet=True) == summary


@pytest.mark.parametrize("mirrors", [True, False])
def test_images_that_tell_left_from_right_are_not_mirrored(
    config, tmp_path, monkeypatch, capsys, mirrors
):
    monkeypatch.setattr(head_solver, "_misleads", lambda losses: not mirrors)
    short = override(config, {"training.epochs": 0, "data.random_flip": "auto"})
    assert run(short, tmp_path)["head_views"] == 1 + mirrors
    assert RunFolder(tmp_path).config().data.random_flip is mirrors
    assert ("nothing is mirrored" in capsys.readouterr().out) is not mirrors


def test_without_validation_folds_choose(config, tmp_path, monkeypatch, capsys):
    """Of the first-come data set all images of validation are taken away."""
    parts = setup.choose

    def without(*arguments):
        return {k: v for k, v in parts(*arguments).items() if k != "validation"}

    monkeypatch.setattr(setup, "choose", without)
    short = override(config, {"training.epochs": 0, "training.select": "last"})
    summary = run(short, tmp_path / "run")
    assert summary["selected_on"] is None and "validation_accuracy" not in summary
    assert ", chosen on 40 images of cross-validation" in capsys.readouterr().out

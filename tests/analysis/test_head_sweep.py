"""Heads of a sweep against one run each, and against a step at a time."""

import functools

import numpy as np
import pytest

from gtn_jax.analysis import compare as comparison
from gtn_jax.analysis import head_sweep, swept_trials
from gtn_jax.analysis.head_sweep import SeedData, SweptHeads, make_sweep, train_heads
from gtn_jax.analysis.methods import method_config
from gtn_jax.analysis.swept_trials import is_sweepable, run_swept
from gtn_jax.analysis.trials import Clock, Trial, choose_devices
from gtn_jax.arrays import Pooled
from gtn_jax.config import override
from gtn_jax.models.gtn import GTN
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.runs.predictions import read_predictions
from gtn_jax.training import loop
from gtn_jax.training.divergence import Diverged
from gtn_jax.training.metrics import Predictions
from gtn_jax.training.optimizer import build_optimizer, relative_schedule

RATES, SEEDS = (0.02, 0.5), (0, 3)


@pytest.fixture
def frozen_config(tiny_config):
    return override(
        tiny_config,
        {
            "training.freeze_epochs": 4,
            "data.feature_cache_views": 2,
            "training.eval_every_epochs": 2,
        },
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", [pytest.param("finetune", marks=pytest.mark.release), "gtn"])
def test_the_same_as_one_run_each(frozen_config, tmp_path, method):
    """Order, views, start, dropout, rate, selection: a head is what its run would have given."""
    config = override(frozen_config, {"training.watch_test": True})
    swept: dict = {}

    def trial(seed, rate):
        def finish(summary):
            swept[seed, rate] = summary
            return "kept"

        asked = method_config(config, method, rate, seed)
        return Trial(asked, tmp_path / f"swept-{seed}-{rate}", finish)

    trials = [trial(seed, rate) for seed in SEEDS for rate in RATES]
    assert all(is_sweepable(one.config) for one in trials)
    said: list[str] = []
    run_swept(trials, choose_devices(1)[0], Clock(4), said.append)
    assert said[-1].startswith("[4/4, about 0 s left] kept")
    for seed, rate in ((0, 0.5), (3, 0.02)):
        folder = tmp_path / f"run-{seed}-{rate}"
        alone = loop.run(method_config(config, method, rate, seed), folder, True, devices=1)
        found = swept[seed, rate]
        for name in ("validation_accuracy", "test_accuracy"):
            assert found[name] == pytest.approx(alone[name], abs=1e-6)
        assert found["validation_loss"] == pytest.approx(alone["validation_loss"], rel=1e-5)
        for name in ("parameters", "trained_parameters"):
            assert found[name] == alone[name]
        tested = [r["accuracy"] for r in RunFolder(folder).rows() if r["split"] == "test"]
        assert found["best_test_accuracy"] == pytest.approx(max(tested), abs=1e-6)
        ours = read_predictions(tmp_path / f"swept-{seed}-{rate}" / "predictions.npz", "test")
        theirs = RunFolder(folder).predictions("test")
        assert ours is not None and theirs is not None
        assert ours.files.tolist() == theirs.files.tolist()
        assert ours.predicted.tolist() == theirs.predicted.tolist()
        np.testing.assert_allclose(ours.label_probability, theirs.label_probability, rtol=1e-4)


@pytest.mark.slow
def test_comparison_of_frozen_methods_is_a_sweep(frozen_config, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "run_trials", None)  # no run of its own
    config = override(frozen_config, {"training.epochs": 2, "training.freeze_epochs": 2})
    said: list[str] = []
    methods = ["linear_probe", "half"]
    rows = comparison.tune_and_compare(
        config, methods, range(2), 1, tmp_path, choose_devices(1), said.append
    )
    assert said[0].startswith("24 tuning and 4 final heads on features of a frozen")
    assert [(row["method"], row["seed"]) for row in rows] == [
        (m, s) for m in methods for s in (0, 1)
    ]
    assert all(row["best_test_accuracy"] >= row["accuracy"] for row in rows)
    again = comparison.tune_and_compare(
        config, methods, range(2), 1, tmp_path, choose_devices(1), said.append
    )
    assert again == rows


def test_features_cost_each_method_that_looks_at_them_the_same(
    frozen_config, tmp_path, monkeypatch
):
    """By a clock of its own: 60 s for the features of a seed, once, and 8 s for each sweep."""
    methods, seeds, found, now = ("finetune", "half", "gtn"), (0, 1), {}, [0.0]
    nothing = Pooled(np.zeros((2, 3, 16), np.float32), np.zeros((2, 3, 16), np.float32))
    of_split = nothing, np.zeros(3, np.int32)
    model = GTN("tiny", 5, auxiliary=False)

    @functools.lru_cache
    def features(config, device):
        now[0] += 60
        return swept_trials._Features(
            *of_split, np.zeros((1, 1, 3)), *of_split, *of_split, np.zeros(3, str), 5, 3,
            Preprocessing((0.5,) * 3, (0.5,) * 3),
        )  # fmt: skip

    def train(sweep, data, rates):
        now[0] += 8
        shape = len(data), len(rates)
        zeros = np.zeros(shape)
        predictions = Predictions(*[np.zeros((*shape, 3), np.int32)] * 3)
        return SweptHeads(None, zeros, zeros, zeros, zeros, predictions, zeros, zeros > 0)

    def finish(name, summary):
        found[name] = summary["seconds"]
        return name

    monkeypatch.setattr(swept_trials.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(swept_trials, "_features", features)
    monkeypatch.setattr(swept_trials, "_sweep", lambda *_: None)
    monkeypatch.setattr(swept_trials, "train_heads", train)
    monkeypatch.setattr(swept_trials, "build_module", lambda *_: model)
    monkeypatch.setattr(swept_trials, "load_variables", lambda *_: {"params": {"backbone": {}}})
    trials = [
        Trial(
            method_config(frozen_config, method, 0.1, seed), tmp_path / f"{method}{seed}",
            functools.partial(finish, (method, seed)),
        )
        for method in methods
        for seed in seeds
    ]  # fmt: skip
    auxiliary = {m: method_config(frozen_config, m, 0.1, 0).model.aux_weight > 0 for m in methods}
    assert list(auxiliary.values()) == [False, False, True]  # whose features are others
    run_swept(trials, choose_devices(1)[0], Clock(6), lambda line: None)
    assert found == {
        (method, seed): 4 + (60 if auxiliary[method] else 30)
        for method in methods
        for seed in seeds
    }
    assert sum(found.values()) == now[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"training.freeze_epochs": 3},
        {"data.feature_cache_views": 0},
        {"data.last_batch": "keep"},
        {"training.accumulation_steps": 2},
        {"training.eval_every_epochs": 3},
        {"training.select": "test_best"},
        {"training.steps": 20},
        {"training.eval_every_steps": 5},
        {"training.head_start": "solved"},
    ],
)
def test_what_is_more_than_a_head_is_not_swept(frozen_config, changes):
    assert is_sweepable(frozen_config)
    assert not is_sweepable(override(frozen_config, changes))


def random_data(model: GTN, seed: int, heads) -> SeedData:
    generator = np.random.default_rng(seed)

    def features(*shape):
        return Pooled(generator.normal(size=(*shape, 16)).astype(np.float32), None)

    def labels(count):
        return generator.integers(0, model.num_classes, count).astype(np.int32)

    rows = np.stack([generator.permutation(12).reshape(3, 4) for _ in range(4)]).astype(np.int32)
    return SeedData(
        heads, np.array(seed, np.uint32), features(2, 12), labels(12), rows,
        features(10), labels(10), features(9), labels(9),
    )  # fmt: skip


@pytest.fixture(scope="module")
def linear():
    """A linear head without dropout, which NumPy follows."""
    model = GTN("tiny", 5, gate="none", classifier_dropout=0.0, auxiliary=False)
    constant = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    optimizer = build_optimizer(0.9, 0.01, constant, frozen_steps=0)
    kernel = np.random.default_rng(9).normal(size=(16, 5)).astype(np.float32)
    return model, optimizer, {"classifier": {"fc": {"kernel": kernel}}}


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def by_numpy(data: SeedData, rate: float) -> list[np.ndarray]:
    """The kernel after each epoch: SGD with momentum 0.9 and decay 0.01, as PyTorch defines it."""
    kernel = np.array(data.heads["classifier"]["fc"]["kernel"], np.float64)
    momentum, kernels = np.zeros_like(kernel), []
    for epoch, batches in enumerate(data.rows):
        for rows in batches:
            features = np.float64(data.views.final[epoch % 2][rows])
            error = softmax(features @ kernel) - np.eye(5)[data.labels[rows]]
            momentum = 0.9 * momentum + features.T @ error / len(rows) + 0.01 * kernel
            kernel = kernel - rate * momentum
        kernels.append(kernel)
    return kernels


@pytest.mark.parametrize("bytes_at_once", [1, 10**9])
def test_against_numpy_in_chunks_of_any_size(linear, bytes_at_once, monkeypatch):
    """Few images of validation choose by their loss, others by accuracy."""
    by_loss = bytes_at_once == 1
    monkeypatch.setattr(head_sweep, "FEW_IMAGES", 10**6 if by_loss else 0)
    model, optimizer, heads = linear
    data = [random_data(model, seed, heads) for seed in range(3)]
    sweep = make_sweep(model, optimizer, 0.0)
    found = train_heads(sweep, data, RATES, bytes_at_once)
    for s, one in enumerate(data):
        for r, rate in enumerate(RATES):
            kernels = by_numpy(one, rate)
            hits = [
                [(of.final @ kernel).argmax(1) == truth for kernel in kernels]
                for of, truth in (
                    (one.validation, one.validation_labels), (one.test, one.test_labels)
                )
            ]  # fmt: skip
            validation, test = np.mean(hits[0], axis=1), np.mean(hits[1], axis=1)
            rows = np.arange(len(one.validation_labels))
            losses = [
                -np.log(softmax(one.validation.final @ kernel)[rows, one.validation_labels]).mean()
                for kernel in kernels
            ]
            quality = -np.array(losses) if by_loss else validation
            best = 3 - int(np.argmax(quality[::-1]))  # of equals the later
            assert found.selected_epoch[s, r] == best + 1
            assert found.validation_accuracy[s, r] == pytest.approx(validation[best])
            assert found.test_accuracy[s, r] == pytest.approx(test[best])
            assert found.best_test_accuracy[s, r] == pytest.approx(test.max())
            kernel = found.params["classifier"]["fc"]["kernel"][s, r]
            np.testing.assert_allclose(kernel, kernels[best], rtol=1e-3, atol=1e-4)
            predicted = (one.test.final @ kernels[best]).argmax(1)
            assert found.test_predictions.predicted[s, r].tolist() == predicted.tolist()
    assert not found.diverged.any()


def test_last_epoch_and_what_diverges(linear):
    model, optimizer, heads = linear
    data = [random_data(model, 0, heads)]
    sweep = make_sweep(model, optimizer, 0.0, eval_every_epochs=2, select_last=True)
    found = train_heads(sweep, data, (0.02, 1e38))
    assert found.selected_epoch.tolist() == [[4, 4]]
    assert found.diverged.tolist() == [[False, True]]
    kernel = found.params["classifier"]["fc"]["kernel"][0, 0]
    np.testing.assert_allclose(kernel, by_numpy(data[0], 0.02)[-1], rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="eval_every_epochs: 3 does not divide the 4 epochs"):
        train_heads(make_sweep(model, optimizer, 0.0, eval_every_epochs=3), data, RATES)


def test_divergence_is_a_row_in_tuning_and_an_error_in_a_final_run(frozen_config, tmp_path):
    config = method_config(frozen_config, "finetune", 1e38, 0)
    device = choose_devices(1)[0]
    trial = Trial(config, tmp_path / "run", lambda summary: "kept")
    said: list[str] = []
    run_swept([trial._replace(diverged=lambda: "diverged")], device, Clock(1), said.append)
    assert said[-1] == "[1/1, about 0 s left] diverged"
    with pytest.raises(Diverged, match="run: a loss or gradient was not finite"):
        run_swept([trial], device, Clock(1), said.append)

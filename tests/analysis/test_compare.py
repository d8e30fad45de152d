"""Pairing, resuming and estimating, with training replaced by a formula; comparisons for real."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gtn_jax.analysis import compare as comparison
from gtn_jax.analysis import trials, tuning
from gtn_jax.analysis.comparison_table import accuracy_table, summarize
from gtn_jax.analysis.estimate import Costs
from gtn_jax.analysis.methods import METHODS, UNTRAINED, Method, Rates, method_config
from gtn_jax.analysis.trials import choose_devices
from gtn_jax.config import Config, override
from gtn_jax.config.serialization import from_json, to_json
from gtn_jax.runs.folder import RunFolder
from gtn_jax.runs.row_file import read_rows


def silent(line: str) -> None:
    del line


@pytest.fixture
def runs(monkeypatch):
    """Stands for training, and remembers what was asked."""
    asked = []

    def run(config, workdir, quiet, devices):
        asked.append((config, workdir))
        accuracy = 0.9 - abs(config.optimizer.learning_rate - 0.1) + 0.001 * (config.seed % 10)
        return {
            "seconds": 1.0,
            "compile_seconds": 0.25,
            "validation_accuracy": accuracy,
            "validation_loss": 1.0,
            "test_accuracy": accuracy - 0.1,
            "parameters": 1234,
            "trained_parameters": 123,
        }

    monkeypatch.setattr(trials, "run", run)
    return asked


def test_finished_runs_are_not_run_again(runs, tmp_path):
    rates = {"finetune": Rates(0.046, 0.046), "gtn": Rates(0.47, 4.7), "probe": UNTRAINED}
    METHODS["probe"] = METHODS["linear_probe"]
    device = choose_devices(1)
    first = comparison.compare(Config(), rates, range(2), tmp_path, device, silent)
    assert len(runs) == 6
    assert comparison.compare(Config(), rates, range(3), tmp_path, device, silent)[:6] == first
    assert len(runs) == 9
    config, workdir = runs[-2]
    assert workdir == tmp_path / "runs" / "gtn-seed2"
    changes = {"optimizer.learning_rate": 0.47, "optimizer.head_learning_rate": 4.7, "seed": 2}
    assert config == override(Config(), changes)
    assert [Rates.of(row) for row in first] == [*rates.values()] * 2
    assert comparison.newest_rows(tmp_path)[:6] == first
    assert first[0] == {
        "method": "finetune", "seed": 0, "learning_rate": 0.046, "head_learning_rate": 0.046,
        "accuracy": pytest.approx(0.746), "best_test_accuracy": None, "seconds": 1.0,
        "parameters": 1234, "trained_parameters": 123,
    }  # fmt: skip


def test_whole_comparison_says_how_long_it_takes_and_how_far_it_is(runs, tmp_path, monkeypatch):
    costs = Costs(0.0, 6.0, 1.0, 0.0, 0.0, steps_per_epoch=1)
    monkeypatch.setattr(comparison.estimate, "probe", lambda config, workdir, device: costs)
    said: list[str] = []
    config = override(Config(), {"training.epochs": 10})
    arguments = (config, ["finetune", "gtn"], range(3), 2, tmp_path, choose_devices(1))
    rows = comparison.tune_and_compare(*arguments, said.append)
    # 48 tuning and 6 final runs of 10 s, and two programs.
    assert said[0] == (
        "about 9 min: 48 tuning runs (24 per trained method) and 6 final runs, 1 at a time"
    )
    assert len(said) == 1 + 54 and said[-1].startswith("[54/54, about 0 s left] run     gtn-seed2")
    # 0.1 is not on the coarse grid, but next to it; the head's rate makes no difference here.
    assert {Rates.of(row) for row in rows} == {(0.1, 0.046)}
    assert [config.training.watch_test for config, _ in runs] == [False] * 48 + [True] * 6
    tuned = {config.seed for config, _ in runs[:48]}
    assert not tuned & {config.seed for config, _ in runs[48:]}
    # Again: nothing to do, the same rows.
    said.clear()
    assert comparison.tune_and_compare(*arguments, said.append) == rows
    assert said == [] and len(runs) == 54


def test_a_probe_that_is_solved_is_one_run_a_seed(runs, tmp_path, monkeypatch):
    costs = Costs(1.0, 0.0, 1.0, 0.0, 0.0, steps_per_epoch=1)
    probed = []
    monkeypatch.setattr(
        comparison.estimate, "probe", lambda config, *_: probed.append(config) or costs
    )
    said: list[str] = []
    config = override(Config(), {"training.epochs": 9, "model.weights": "tiny_imagenet"})
    methods, device = ["linear_probe", "finetune"], choose_devices(1)
    rows = comparison.tune_and_compare(config, methods, range(2), 1, tmp_path, device, said.append)
    # 14 runs of 10 s, and 2 of 1 s, which take no step; what is probed is one that does.
    assert said[0].startswith("about 2 min: 12 tuning runs (12 per trained method)")
    assert probed[0].training.epochs == 9
    assert len(runs) == 12 + 4
    assert [Rates.of(row) for row in rows if row["method"] == "linear_probe"] == [UNTRAINED] * 2
    assert {row["method"] for row in tuning.tuning_rows(tmp_path)} == {"finetune"}
    # Alone, it is not worth a word.
    said.clear()
    folder = tmp_path / "alone"
    folder.mkdir()
    comparison.tune_and_compare(config, methods[:1], range(5), 1, folder, device, said.append)
    assert len(said) == len(runs) - 16 == 5 and len(probed) == 1


def test_a_solved_probe_is_a_run_beside_heads_of_a_sweep(runs, tmp_path, monkeypatch):
    swept: list = []

    def run_swept(found, device, clock, say):
        swept.extend(found)
        for trial in found:
            trials.run_trials([trial], [device], clock, say)

    monkeypatch.setattr(comparison, "run_swept", run_swept)
    config = override(Config(), {
        "training.epochs": 9, "training.freeze_epochs": 9, "data.feature_cache_views": 1,
        "model.weights": "tiny_imagenet",
    })  # fmt: skip
    methods, said = ["linear_probe", "half"], []
    comparison.tune_and_compare(
        config, methods, range(2), 1, tmp_path, choose_devices(1), said.append
    )
    assert said[0].startswith("12 tuning and 4 final heads")
    assert [trial.config.model.gate for trial in swept] == ["half"] * 14
    probes = [asked for asked, _ in runs if asked.model.gate == "none"]
    assert [(asked.training.epochs, asked.seed) for asked in probes] == [(0, 0), (0, 1)]


def test_lengths_are_decided_once_for_all_methods(tiny_config, tmp_path):
    """40 images of batches of 8: 100 steps, 20 epochs, 5 evaluations."""
    auto = override(tiny_config, {"training.epochs": "auto"})
    config = comparison.check(auto, ["finetune", "lp_ft"], 1, 1, tmp_path)
    training = config.training
    assert (training.steps, training.epochs, training.eval_every_steps) == (100, 20, 20)
    assert from_json(tmp_path / "config.json") == config
    assert method_config(config, "lp_ft", None, 0).training.freeze_epochs == 10
    # Started again it is what it was, even where other steps would be decided on now.
    kept = override(config, {"training.steps": 60, "training.epochs": 12})
    (tmp_path / "config.json").write_text(to_json(kept))
    assert comparison.check(auto, ["finetune"], 1, 1, tmp_path) == kept
    # Steps that were asked for: shares of what is frozen are of these.
    steps = override(tiny_config, {"training.epochs": 100, "training.steps": 18})
    for _ in range(2):
        config = comparison.check(steps, ["finetune"], 1, 1, tmp_path / "steps")
        assert (config.training.steps, config.training.epochs) == (18, 4)
    # A start that cannot be had is random for all; one that can needs a bias.
    solved = override(tiny_config, {"training.head_start": "solved"})
    random = comparison.check(solved, ["finetune"], 1, 1, tmp_path / "random")
    assert random.training.head_start == "random" and not random.model.classifier_bias


def test_impossible_comparisons_are_refused_first(tiny_config, tmp_path):
    with pytest.raises(ValueError, match="unknown method 'gtm'; did you mean gtn"):
        comparison.check(tiny_config, ["finetune", "gtm"], 2, 1, tmp_path)
    for field, name in (("model.backbone", "tiney"), ("model.weights", "tiny_imagenot")):
        misspelt = override(tiny_config, {field: name})
        with pytest.raises(ValueError, match=f"unknown .* '{name}'; did you mean tiny"):
            comparison.check(misspelt, ["gtn"], 2, 1, tmp_path)
    with pytest.raises(ValueError, match="seeds: invalid value 0"):
        comparison.check(tiny_config, ["finetune"], 0, 1, tmp_path)
    with pytest.raises(ValueError, match="trials: invalid value 0"):
        comparison.check(tiny_config, ["finetune"], 1, 0, tmp_path)
    assert list(tmp_path.iterdir()) == []
    comparison.check(tiny_config, ["gtn"], 2, 1, tmp_path)
    with pytest.raises(ValueError, match="training.epochs: 4 -> 9"):
        comparison.check(override(tiny_config, {"training.epochs": 9}), ["gtn"], 2, 1, tmp_path)


def test_rows_of_another_method_of_that_name_are_not_mixed(tiny_config, tmp_path):
    METHODS["own"] = Method("mine", changes={"training.ema_decay": 0.9})
    comparison.check(tiny_config, ["finetune"], 2, 1, tmp_path)
    comparison.check(tiny_config, ["own"], 2, 1, tmp_path)
    comparison.check(tiny_config, ["finetune", "own"], 2, 1, tmp_path)
    METHODS["own"] = Method("mine", changes={"training.label_smoothing": 0.3})
    comparison.check(tiny_config, ["finetune"], 2, 1, tmp_path)
    with pytest.raises(ValueError, match="holds runs of another method own") as refused:
        comparison.check(tiny_config, ["finetune", "own"], 2, 1, tmp_path)
    here, asked = str(refused.value).splitlines()[1:]
    assert "training.ema_decay: 0.0 -> 0.9" in here and "label_smoothing" not in here
    assert "training.label_smoothing: 0.0 -> 0.3" in asked and "ema_decay" not in asked


def test_data_without_test_split_is_refused(tiny_config, tmp_path, monkeypatch):
    parts = {"train": None, "validation": None}
    monkeypatch.setattr(comparison, "choose", lambda splits, data, seed: parts)
    with pytest.raises(ValueError, match="digits has no test split"):
        comparison.check(tiny_config, ["gtn"], 2, 1, tmp_path)


@pytest.mark.slow
def test_seed_pairs_methods_for_real(tiny_config, tmp_path):
    """Two methods, two seeds, two devices: rows that match the run folders, and an interval."""
    config = override(
        tiny_config,
        {"training.epochs": 2, "training.freeze_epochs": 0, "data.batch_size": 40},
    )
    rates = {"finetune": Rates(0.01, 0.1), "gtn": Rates(0.01, 0.1)}
    todo = comparison.final_trials(config, rates, [0, 1], tmp_path, watch_test=True)
    trials.run_trials(todo, choose_devices(2), trials.Clock(4), silent)
    rows = comparison.final_rows(tmp_path, rates, [0, 1])
    assert {(row["method"], row["seed"]) for row in rows} == {(m, s) for m in rates for s in (0, 1)}
    said = {}
    for row in rows:
        folder = RunFolder(comparison.run_folder(tmp_path, row["method"], row["seed"]))
        summary, predictions = folder.summary(), folder.predictions("test")
        assert summary is not None and predictions is not None
        assert summary["test_accuracy"] == row["accuracy"] <= row["best_test_accuracy"]
        tested = [r["accuracy"] for r in folder.rows() if r["split"] == "test"]
        assert len(tested) == 2 and max(tested) == row["best_test_accuracy"]
        said[row["method"], row["seed"]] = predictions.predicted == predictions.labels
    by_hand = np.mean([said["gtn", s].mean() - said["finetune", s].mean() for s in (0, 1)])
    finetune, gtn = summarize(sorted(rows, key=lambda row: row["method"]), tmp_path)
    assert np.mean(gtn.differences) == pytest.approx(100 * by_hand)
    assert gtn.interval_with_images is not None
    low, high = gtn.interval_with_images
    assert low < 100 * by_hand < high
    assert gtn.trained_parameters > finetune.trained_parameters
    assert accuracy_table([finetune, gtn]).row_count == 2


EXPERIMENT = """
from gtn_jax.config import *
from gtn_jax.models.backbones import BACKBONES, ResNetShape

BACKBONES["tiny"] = ResNetShape("basic", (1, 1), width=8, stem="small", stem_stride=2)
CONFIG = Config(
    data=DataConfig(
        data_dir="{data_dir}", image_size=16, batch_size=20, train_images_per_class=4,
    ),
    model=ModelConfig(backbone="tiny", gate_reduction=4, weights="{weights}"),
    training=TrainingConfig(epochs="auto", steps=2, freeze_epochs=0, head_start="solved"),
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [(9,), pytest.param((2, 9, 13), marks=pytest.mark.release)])
def test_killed_anywhere_it_goes_on_to_the_same_rows(data_dir, tiny_weights, tmp_path, kills):
    """SIGKILL after so many rows; what an uninterrupted comparison says comes out."""
    experiment = tmp_path / "small.py"
    experiment.write_text(EXPERIMENT.format(data_dir=data_dir, weights=tiny_weights))
    words = [sys.executable, "-m", "gtn_jax", "compare", str(experiment), "--seeds", "1",
             "--trials", "1", "--methods", "half", "linear_probe", "--workdir"]  # fmt: skip
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "HOME": str(tmp_path)}
    env.pop("JAX_ENABLE_COMPILATION_CACHE")
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    def lines() -> int:
        files = [killed / tuning.FILE, killed / comparison.FILE]
        return sum(len(read_rows(file)) for file in files)

    for wanted in kills:
        process = subprocess.Popen([*words, str(killed)], env=env, stdout=subprocess.DEVNULL)
        while lines() < wanted:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    tables = [
        subprocess.run([*words, str(folder)], env=env, capture_output=True, text=True, check=True)
        for folder in (killed, whole)
    ]

    def without_time(folder, name):
        return [{k: v for k, v in row.items() if "seconds" not in k} for row in
                sorted(read_rows(folder / name), key=json.dumps)]  # fmt: skip

    for name in (tuning.FILE, comparison.FILE):
        assert without_time(killed, name) == without_time(whole, name)
    assert not (killed / "probe").exists()
    tuned, final = (read_rows(whole / name) for name in (tuning.FILE, comparison.FILE))
    assert [row["method"] for row in tuned] == ["half"] * 12
    half, probe = (RunFolder(comparison.run_folder(whole, row["method"], 0)) for row in final)
    half, probe = half.summary() or {}, probe.summary() or {}
    assert Rates.of(final[1]) == UNTRAINED and Rates.of(final[0]) != UNTRAINED
    assert (half["steps"], probe["steps"]) == (2, 0)
    # Both begin with the solved head, on the same images.
    assert half["head_strength"] is not None and probe["head_strength"] is not None
    # The tables, from the first one's heading to the seconds of the second.
    first, second = (re.search(r"method +accuracy.*?\n\n", t.stdout, re.S) for t in tables)
    assert first is not None and second is not None and first[0] == second[0]

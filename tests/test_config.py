"""Configs check themselves, survive JSON, and name what differs."""

import json

import pytest

from gtn_jax.config import (
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainingConfig,
    override,
)
from gtn_jax.config.serialization import differences, flatten, from_json, to_json


def test_json_round_trip(tmp_path):
    config = override(Config(), {"optimizer.boundaries_epochs": (3, 5), "seed": 7})
    (tmp_path / "config.json").write_text(to_json(config))
    assert from_json(tmp_path / "config.json") == config


def test_override_changes_one_field_and_nothing_else():
    config = override(Config(), {"model.gate": "none", "seed": 3})
    assert differences(Config(), config) == [
        "model.gate: 'sigmoid' -> 'none'",
        "seed: 0 -> 3",
    ]


def test_configs_can_be_keys():
    assert hash(Config()) == hash(Config())


def test_flatten_names_every_field():
    names = flatten(Config())
    assert names["data.batch_size"] == 64
    assert names["optimizer.boundaries_epochs"] == [41, 81]
    assert "seed" in names


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"data": {"nmae": "digits"}}',
        '{"data": {"name": 5}}',
        '{"data": {"random_flip": "no"}}',
        '{"data": null}',
        '{"optimizer": {"boundaries_epochs": [1, "2"]}}',
        '{"seed": 1.5}',
        '{"seed": true}',
        '{"data": ' + "[" * 5000,
    ],
)
def test_foreign_json_is_refused_by_file(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="config.json is not a config"):
        from_json(path)


def test_json_is_plain():
    assert json.loads(to_json(Config()))["training"]["freeze_mode"] == "no_grad"


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        (DataConfig, "image_size", 0),
        (DataConfig, "batch_size", 0),
        (DataConfig, "eval_batch_size", 0),
        (DataConfig, "train_images_per_class", 0),
        (DataConfig, "random_shift_pixels", -1),
        (DataConfig, "small_image_epochs", -1),
        (DataConfig, "feature_cache_views", -1),
        (ModelConfig, "gate_dropout", 1.0),
        (ModelConfig, "classifier_dropout", -0.1),
        (ModelConfig, "gate_reduction", 0),
        (ModelConfig, "aux_weight", -1.0),
        (OptimizerConfig, "learning_rate", 0.0),
        (OptimizerConfig, "head_learning_rate", 0.0),
        (OptimizerConfig, "momentum", 1.0),
        (OptimizerConfig, "weight_decay", -1e-4),
        (OptimizerConfig, "warmup_epochs", -1.0),
        (OptimizerConfig, "boundaries_epochs", (8, 4)),
        (TrainingConfig, "epochs", -1),
        (TrainingConfig, "epochs", "all"),
        (TrainingConfig, "steps", -1),
        (TrainingConfig, "eval_every_steps", 0),
        (OptimizerConfig, "warmup_share", 1.0),
        (DataConfig, "crop_min_area", 0.0),
        (TrainingConfig, "freeze_epochs", -1),
        (TrainingConfig, "eval_every_epochs", 0),
        (TrainingConfig, "checkpoint_every_seconds", 0.0),
        (TrainingConfig, "log_every_steps", 0),
        (TrainingConfig, "accumulation_steps", 0),
        (TrainingConfig, "mixup_alpha", -0.1),
        (TrainingConfig, "remat", "all"),
        (Config, "seed", -1),
        (DataConfig, "small_image_size", 0),
        (DataConfig, "last_batch", "kept"),
        (ModelConfig, "compute_dtype", "float64"),
        (OptimizerConfig, "schedule", "linear"),
        (TrainingConfig, "freeze_mode", "nograd"),
        (TrainingConfig, "frozen_batch_norm", "frozen"),
        (TrainingConfig, "select", "best"),
    ],
)
def test_impossible_values_are_refused_by_name(section, field, value):
    with pytest.raises(ValueError, match=rf"{field}: invalid value .*; expected"):
        section(**{field: value})


def test_fields_that_do_not_go_together():
    with pytest.raises(ValueError, match="optimizer.warmup_epochs: invalid value 8.0"):
        override(Config(), {"training.epochs": 5, "optimizer.warmup_epochs": 8.0})
    with pytest.raises(ValueError, match="optimizer.warmup_epochs: invalid value 1.0"):
        override(Config(), {"optimizer.schedule": "step", "optimizer.warmup_epochs": 1.0})
    with pytest.raises(ValueError, match="model.load_heads: invalid value True"):
        override(Config(), {"model.load_heads": True})
    with pytest.raises(ValueError, match="steps: invalid value 3; expected a divisor of .*, 64"):
        override(Config(), {"training.accumulation_steps": 3})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"training.freeze_epochs": 0}, "training.freeze_epochs is 0"),
        ({"training.freeze_mode": "zero_lr"}, "training.freeze_mode is zero_lr"),
        ({"training.frozen_batch_norm": "batch"}, "training.frozen_batch_norm is batch"),
        ({"data.small_image_epochs": 1}, "data.small_image_epochs is 1"),
        ({"training.mixup_alpha": 0.2}, "training.mixup_alpha is 0.2"),
    ],
)
def test_only_a_backbone_that_stands_still_can_be_cached(values, reason):
    cached = {"data.feature_cache_views": 4, "training.freeze_epochs": 2}
    assert override(Config(), cached).data.feature_cache_views == 4
    with pytest.raises(
        ValueError, match=f"data.feature_cache_views: invalid value 4; expected 0, as {reason}"
    ):
        override(Config(), cached | values)

"""Configs of earlier versions keep their meaning, and a changed field cannot be forgotten."""

import json
from pathlib import Path

import pytest

from gtn_jax.config import Config, field_names, override
from gtn_jax.config.migration import MIGRATIONS, Migrations, Removed, migrate
from gtn_jax.config.serialization import flatten, from_json, from_tree, to_json, to_tree

OLDEST = Path(__file__).parent.parent / "compatibility" / "runs" / "0.1.0" / "config.json"


def first_fields() -> dict:
    """Of the first version's config.json, by dotted names."""
    tree = json.loads(OLDEST.read_text())
    sections = {k: v for k, v in tree.items() if isinstance(v, dict)}
    fields = {f"{k}.{name}": value for k, v in sections.items() for name, value in v.items()}
    return fields | {k: v for k, v in tree.items() if k not in sections}


def test_every_field_since_the_first_version_has_its_line():
    first = first_fields().keys()
    gone = MIGRATIONS.removed.keys() | MIGRATIONS.replaced.keys()
    carried = {MIGRATIONS.renamed.get(name, name) for name in first - gone}
    assert {new for new, _ in MIGRATIONS.replaced.values()} <= MIGRATIONS.added.keys()
    assert carried | MIGRATIONS.added.keys() == set(field_names())
    assert not carried & MIGRATIONS.added.keys()
    assert not gone & set(field_names())


def test_the_first_version_loads_with_what_it_did():
    """Written out: the defaults of today may differ."""
    fields = flatten(from_json(OLDEST))
    kept = {
        MIGRATIONS.renamed.get(name, name): value
        for name, value in first_fields().items()
        if name not in MIGRATIONS.replaced
    }
    assert {name: fields[name] for name in kept} == kept
    assert {name: fields[name] for name in fields.keys() - kept.keys()} == {
        "model.load_heads": False,
        "data.crop_min_area": 0.08,
        "data.center_crop": True,
        "data.mirror_evaluation": False,
        "optimizer.name": "sgd",
        "optimizer.head_learning_rate": None,
        "optimizer.decayed": "auto",
        "optimizer.warmup_share": 0.0,
        "optimizer.full_rate_steps": 0,
        "training.steps": None,
        "training.head_start": "random",
        "training.frozen_stages": 0,
        "training.start_share": 0.0,
        "training.batch_norm": "batch",
        "training.eval_every_steps": None,
        "optimizer.l2_sp": 0.0,
        "training.trainable": "all",
        "training.label_smoothing": 0.0,
        "training.mixup_alpha": 0.0,
        "training.ema_decay": 0.0,
        "training.early_stopping_patience": 0,
        "training.watch_test": False,
    }


def test_a_multiplier_becomes_the_rate_that_it_made():
    """0.1.0 had the heads' rate as a multiple of the backbone's."""
    tree = json.loads(OLDEST.read_text())
    tree["optimizer"] |= {"learning_rate": 0.02, "head_lr_multiplier": 10.0}
    assert from_tree(tree, "it").optimizer.rates == (0.02, 0.2)
    tree["optimizer"]["head_lr_multiplier"] = 1.0
    assert from_tree(tree, "it").optimizer.head_learning_rate is None


def test_an_absent_field_does_not_take_the_default_of_today():
    changes = Migrations(added={"rate": 1.0}, renamed={}, removed={})
    assert migrate({"steps": 3}, ["steps", "rate"], changes) == {"steps": 3, "rate": 1.0}
    assert migrate({"steps": 3, "rate": 2.0}, ["steps", "rate"], changes)["rate"] == 2.0


def test_a_renamed_field_keeps_its_value():
    changes = Migrations(added={"remat": "none"}, renamed={"rematerialise": "remat"}, removed={})
    assert migrate({"rematerialise": "blocks"}, ["remat"], changes) == {"remat": "blocks"}
    assert migrate({}, ["remat"], changes) == {"remat": "none"}
    with pytest.raises(ValueError, match="^remat and its old name are both there"):
        migrate({"rematerialise": "blocks", "remat": "none"}, ["remat"], changes)


def test_a_removed_field_is_dropped_where_it_did_nothing_and_refused_otherwise():
    gone = {"bias": Removed(False, "a bias", "go"), "rows": Removed([], "some rows", "go back")}
    changes = Migrations(added={}, renamed={}, removed=gone)
    assert migrate({"bias": False, "rows": []}, [], changes) == {}
    with pytest.raises(ValueError, match=r"^rows \(some rows\) is \[1\]; go back$"):
        migrate({"bias": False, "rows": [1]}, [], changes)


UNPRUNED = {"gate_hidden_units": None, "gate_bias": False, "kept_channels": []}


def test_a_run_from_when_runs_could_be_pruned_loads():
    tree = to_tree(Config())
    tree["model"] |= UNPRUNED
    assert from_tree(tree, "it") == Config()


@pytest.mark.parametrize(
    ("pruned", "says"),
    [
        ({"gate_hidden_units": 8}, r"gate_hidden_units \(hidden units of the gate\) is 8"),
        ({"gate_bias": True}, r"gate_bias \(bias of the gate's first layer\) is True"),
        (
            {"kept_channels": list(range(64))},
            r"kept_channels \(channels kept of the backbone\) is \[0, 1, 2, .*\.\.\.]",
        ),
    ],
)
def test_a_pruned_run_is_refused_in_one_line(pruned, says):
    tree = to_tree(Config())
    tree["model"] |= UNPRUNED | pruned
    says = f"^it is not a config of this version: model.{says}; .* pruned runs; use the unpruned"
    with pytest.raises(ValueError, match=says) as error:
        from_tree(tree, "it")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_what_no_version_wrote_is_refused_by_name(tmp_path):
    tree = to_tree(Config())
    del tree["data"]["batch_size"]
    with pytest.raises(ValueError, match="here is not a config .*: data.batch_size is missing"):
        from_tree(tree, "here")
    path = tmp_path / "config.json"
    path.write_text(to_json(Config()).replace('"weight_decay"', '"weight_decoy"'))
    with pytest.raises(ValueError, match="'optimizer.weight_decoy'; did you mean optimizer.weight"):
        from_json(path)


def test_every_value_survives_the_way_through_json():
    changed = {"optimizer.boundaries_epochs": (3, 5), "data.resize_size": 40, "seed": 7}
    config = override(Config(), changed)
    assert from_tree(to_tree(config), "here") == config

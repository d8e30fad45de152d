"""The table of methods: what each changes, and what is refused."""

import dataclasses
import re
from pathlib import Path

import pytest

from gtn_jax.analysis.methods import (
    METHODS,
    Method,
    Rates,
    check_methods,
    check_runs,
    is_frozen,
    is_untrained,
    method_config,
)
from gtn_jax.config import Config, TrainingConfig, override

CONFIG = Config(training=TrainingConfig(epochs=20, freeze_epochs=3))
OWN_FREEZING = {"linear_probe": 20, "finetune_frozen_start": 4, "lp_ft": 10}


def changed(method: str) -> dict:
    """Field -> value, of what differs from the experiment apart from rate and seed."""
    asked = method_config(CONFIG, method, 0.5, 7)
    assert (asked.optimizer.learning_rate, asked.seed) == (0.5, 7)
    found = {}
    for section in ("data", "model", "optimizer", "training"):
        before, after = getattr(CONFIG, section), getattr(asked, section)
        for field in dataclasses.fields(before):
            value = getattr(after, field.name)
            if value != getattr(before, field.name) and field.name != "learning_rate":
                found[field.name] = value
    return found


def test_the_fourteen_of_the_issue():
    assert set(METHODS) == set(
        "linear_probe finetune finetune_frozen_start aux gate gtn gate_identity gtn_identity half "
        "constant mlp l2_sp lp_ft bn_only".split()
    )


@pytest.mark.parametrize("method", METHODS)
def test_methods_differ_in_what_they_are_about(method):
    found = changed(method)
    assert found.pop("freeze_epochs", 3) == OWN_FREEZING.get(method, 3)
    if method in ("aux", "gtn", "gtn_identity"):
        assert "aux_weight" not in found
    else:
        assert found.pop("aux_weight") == 0.0
    gates = {"gate": "sigmoid", "gtn": "sigmoid", "half": "half", "constant": "constant",
             "mlp": "mlp", "gate_identity": "identity", "gtn_identity": "identity"}  # fmt: skip
    assert found.pop("gate", "sigmoid") == gates.get(method, "none")
    rest = {"l2_sp": {"l2_sp": 0.1}, "bn_only": {"trainable": "batch_norm"}}
    assert found == rest.get(method, {})


def test_unknown_and_impossible_methods_are_refused():
    with pytest.raises(ValueError, match="unknown method 'gtm'; did you mean gtn"):
        check_methods(CONFIG, ["finetune", "gtm"])
    without = override(CONFIG, {"model.aux_weight": 0.0})
    assert method_config(without, "gtn", 0.1, 0).model.aux_weight == 0.2  # the paper's
    check_methods(CONFIG, list(METHODS))
    check_runs(CONFIG, list(METHODS))


def test_rates_are_those_of_the_method_or_the_experiments():
    experiment = override(
        CONFIG, {"optimizer.learning_rate": 0.3, "optimizer.head_learning_rate": 0.7}
    )
    for asked, found in [
        ((None, None), (0.3, 0.7)),
        ((0.5, None), (0.5, 0.5)),
        ((0.5, 5.0), (0.5, 5.0)),
    ]:
        config = method_config(experiment, "gtn", asked[0], 7, asked[1])
        assert config.optimizer.rates == found
    # One rate for both is what it was in older comparisons, which go on.
    same = method_config(CONFIG, "gtn", 0.5, 7, 0.5)
    assert same == method_config(CONFIG, "gtn", 0.5, 7)
    assert same.optimizer.head_learning_rate is None
    assert Rates.of({"learning_rate": 0.5}) == Rates.of(Rates(0.5, 0.5).fields())


def test_linear_probe_is_solved_where_there_are_weights():
    weights = override(CONFIG, {"model.weights": "tiny_imagenet", "training.steps": 99})
    probe = method_config(weights, "linear_probe", None, 0)
    assert is_untrained(probe)
    assert (probe.training.head_start, probe.training.freeze_epochs) == ("solved", 0)
    # Without features, or with a head that comes with them, it is trained, on a backbone that is
    # not.
    for changes in ({"model.weights": None}, {"model.load_heads": True}):
        probe = method_config(override(weights, changes), "linear_probe", None, 0)
        assert is_frozen(probe) and not is_untrained(probe)
        assert probe.training.head_start == "random"
    # Every other method begins as the experiment says.
    for start in ("random", "solved"):
        experiment = override(weights, {"training.head_start": start})
        for method in METHODS.keys() - {"linear_probe"}:
            own = method_config(experiment, method, None, 0)
            assert own.training.head_start == start and not is_untrained(own)


@pytest.mark.parametrize(
    ("freeze_epochs", "methods"),
    [
        (3, ["finetune", "finetune"]),
        (4, ["finetune", "finetune_frozen_start"]),
        (10, ["lp_ft", "finetune"]),
        (20, ["linear_probe", "finetune"]),
        # What stands still is not pulled anywhere, and its BatchNorm does not learn.
        (20, ["linear_probe", "l2_sp"]),
        (20, ["bn_only", "finetune"]),
    ],
)
def test_a_thing_is_not_compared_with_itself(freeze_epochs, methods):
    config = override(CONFIG, {"training.freeze_epochs": freeze_epochs})
    first, second = methods
    with pytest.raises(ValueError, match=f"{first} and {second} are the same runs") as error:
        check_runs(config, methods)
    assert len(str(error.value).splitlines()) <= 3


def test_frozen_is_frozen_in_every_respect():
    assert not is_frozen(CONFIG)
    whole = override(CONFIG, {"training.freeze_epochs": 20})
    assert is_frozen(whole)
    for field, value in (("freeze_mode", "zero_lr"), ("frozen_batch_norm", "batch")):
        assert not is_frozen(override(whole, {f"training.{field}": value}))


def test_the_page_has_the_same_table():
    page = Path(__file__).parents[2] / "docs" / "comparisons.md"
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (yes|no) \| (.+?) \|", page.read_text(), re.M)
    frozen = {None: "as the experiment", 1: "all epochs", 0.21: "21 % of the epochs",
              0.5: "50 % of the epochs"}  # fmt: skip
    assert rows == [
        (name, method.gate, "yes" if method.auxiliary else "no", frozen[method.frozen])
        for name, method in METHODS.items()
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"training.ema_decai": 0.9},
            "method own: unknown field 'training.ema_decai'; did you mean",
        ),
        ({"training.ema_decay": 2.0}, "method own: training.ema_decay: invalid value 2.0"),
        ({"optimizer.learning_rate": 0.1}, "optimizer.learning_rate is set by the comparison"),
        ({"optimizer.head_learning_rate": 0.1}, "head_learning_rate is set by the comparison"),
        ({"seed": 3}, "seed is set by the comparison"),
    ],
)
def test_changes_that_do_not_work(changes, says):
    METHODS["own"] = Method("mine", changes=changes)
    with pytest.raises(ValueError, match=re.escape(says)):
        check_methods(CONFIG, ["finetune", "own"])


def test_changes_have_the_last_word():
    changes = {"model.aux_weight": 1.0, "training.freeze_epochs": 2, "training.mixup_alpha": 0.2}
    METHODS["own"] = Method("mine", frozen=0.5, changes=changes)
    assert changed("own") == {
        "aux_weight": 1.0, "freeze_epochs": 2, "mixup_alpha": 0.2, "gate": "none",
    }  # fmt: skip

"""What a config leaves open is decided once: from its images, or from the run that is there."""

import pytest

from gtn_jax.config import Config, override
from gtn_jax.training.resolution import (
    adopt,
    automatic_steps,
    is_evaluation_due,
    resolve,
    total_steps,
    with_start,
)

AUTO = override(Config(), {"training.epochs": "auto", "model.weights": "some.safetensors"})


def length(config: Config) -> tuple:
    training = config.training
    return training.epochs, training.steps, training.eval_every_steps


def test_an_automatic_length_becomes_numbers():
    steps = automatic_steps(100, 32)
    resolved = resolve(AUTO, 100, 32, per_epoch=3)
    assert length(resolved) == (-(-steps // 3), steps, -(-steps // 5))
    assert resolve(resolved, 100, 32, 3) == resolved
    assert total_steps(resolved, 3) == steps


def test_what_is_given_wins():
    given = override(AUTO, {"training.steps": 50, "training.eval_every_steps": 7})
    assert length(resolve(given, 100, 32, 3)) == (17, 50, 7)
    epochs = override(AUTO, {"training.epochs": 4})
    assert resolve(epochs, 100, 32, 3) == epochs
    assert total_steps(epochs, 3) == 12
    assert total_steps(override(epochs, {"training.steps": 5}), 3) == 5


def test_a_run_that_is_there_has_decided():
    kept = override(
        AUTO, {"training.epochs": 9, "training.steps": 26, "training.eval_every_steps": 3}
    )
    assert adopt(AUTO, kept) == kept
    asked = override(AUTO, {"training.steps": 30})
    assert length(adopt(asked, kept)) == (9, 30, 3)
    assert adopt(override(AUTO, {"training.epochs": 2}), kept).training.steps is None


def test_mirror_images_are_decided_with_the_head():
    open_flip = override(AUTO, {"data.random_flip": "auto"})
    assert with_start(open_flip).data.random_flip is True
    solved = override(open_flip, {"training.head_start": "solved"})
    assert with_start(solved).data.random_flip == "auto"
    kept = override(solved, {"data.random_flip": False, "training.epochs": 3})
    assert adopt(solved, kept).data.random_flip is False


def test_evaluations():
    def due(**fields):
        config = override(Config(), {f"training.{name}": value for name, value in fields.items()})
        return [step for step in range(1, 12) if is_evaluation_due(step, 11, 3, config)]

    assert due(epochs=4) == [3, 6, 9, 11]
    assert due(epochs=4, eval_every_epochs=2) == [6, 11]
    assert due(epochs=4, eval_every_steps=4) == [4, 8, 11]


def test_a_solved_start_has_a_bias_and_needs_weights():
    solved = override(AUTO, {"training.head_start": "solved"})
    assert with_start(solved).model.classifier_bias
    for values in ({"model.weights": None}, {"model.load_heads": True}):
        without = with_start(override(solved, values))
        assert without.training.head_start == "random"
        assert not without.model.classifier_bias


@pytest.mark.parametrize(
    ("values", "fix"),
    [
        ({"training.epochs": 0}, "^training.epochs: 0 trains nothing; set .*head_start to solved$"),
        ({"training.steps": 0, "model.weights": None}, "^training.steps: .*, and model.weights$"),
        (
            {"training.epochs": 0, "training.head_start": "solved", "model.load_heads": True},
            "and model.load_heads to False$",
        ),
    ],
)  # fmt: skip
def test_nothing_to_do_is_refused(values, fix):
    with pytest.raises(ValueError, match=fix):
        with_start(override(AUTO, values))

"""Which weights a reader gets, beside a trainer and on a damaged disk."""

import json
import shutil

import pytest

from gtn_jax.inference.restore import restore
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import RunFolder
from gtn_jax.training.state import create_state


@pytest.fixture
def unfinished(drawn_run):
    """A run with step 0 only, that goes on; without digests, as an older version made it."""
    for name in ("summary.json", "digests.json"):
        (drawn_run / name).unlink()
    return drawn_run


def test_a_step_that_a_trainer_removes_meanwhile_is_replaced_by_a_newer_one(
    unfinished, monkeypatch
):
    original, asked = Checkpoints.restore, []

    def load(self, template, step):
        asked.append(step)
        if len(asked) == 1:
            state, position = original(self, template, step)
            with Checkpoints(unfinished / "checkpoints") as trainer:
                trainer.save(state.replace(step=state.step + 1), position)
            shutil.rmtree(unfinished / "checkpoints/0")
        return original(self, template, step)

    monkeypatch.setattr(Checkpoints, "restore", load)
    assert restore(unfinished).step == 1
    assert asked == [0, 1]


def test_weights_are_those_of_the_classes_and_of_the_step_that_were_selected(unfinished):
    """Neither a list that someone sorted nor another step's, on a damaged disk."""
    path, checkpoints = unfinished / "classes.json", unfinished / "checkpoints"
    classes = json.loads(path.read_text())
    first = restore(unfinished)
    state = create_state(first.variables, first.setup.programs.optimizer, 0.05, 0)
    with Checkpoints(checkpoints, classes=tuple(classes)) as trainer:
        trainer.save(state.replace(step=state.step + 1), {"images": 0}, accuracy=1.0)
    assert restore(unfinished).step == 1

    path.write_text(json.dumps(classes[::-1]))
    with pytest.raises(ValueError, match="checkpoint 1 is of other classes") as error:
        restore(unfinished)
    assert len(str(error.value).splitlines()) <= 3
    path.write_text(json.dumps(classes))

    RunFolder(unfinished).finish({"selected_step": 0})
    (checkpoints / "0/position/data.json").write_text("{}")
    with pytest.raises(ValueError, match="checkpoint 0: position/data.json is 2 bytes long"):
        restore(unfinished)

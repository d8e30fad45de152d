"""What is kept, what comes back."""

import errno
import os
import random
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.config import Config, override
from gtn_jax.devices import data_mesh, replicate
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.state import create_state


@pytest.fixture(scope="module")
def state():
    optimizer = build_optimizer(0.9, 0.0, relative_schedule("constant", 1, 1, 0, (), 0.1), 0)
    variables = init_variables(GTN("tiny", 3, gate_reduction=4), 0)
    return replicate(create_state(variables, optimizer, 0.1, 0), data_mesh(2))


def at(state, step: int):
    """The state with a number in every leaf that tells the step."""
    params = jax.tree.map(lambda leaf: leaf + step, state.params)
    return state.replace(step=jnp.int32(step), params=params)


def test_latest_and_best_are_kept(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
        assert checkpoints.best_step() is None
        for step, accuracy in [(1, None), (2, 0.5), (3, 0.75), (4, 0.25), (5, None)]:
            checkpoints.save(at(state, step), {"next": step}, accuracy)
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.latest_step(), checkpoints.best_step()) == (5, 3)
        for step in (3, 5):
            restored, position = checkpoints.restore(state, step)
            assert position == {"next": step}
            expected = at(state, step)
            jax.tree.map(np.testing.assert_array_equal, restored.params, expected.params)
            assert jax.tree.structure(restored) == jax.tree.structure(expected)
            assert restored.key == state.key
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == [
        "3",
        "4",
        "5",
    ]


def test_restores_onto_another_number_of_devices(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(state, 1), {"next": 1}, None)
        template = replicate(state, data_mesh(4))
        restored, _ = checkpoints.restore(template, 1)
    leaf = jax.tree.leaves(restored.params)[0]
    assert len(leaf.sharding.device_set) == 4


def test_the_later_of_equally_good_steps_is_best(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step, accuracy in [(1, 0.5), (2, 0.5), (3, 0.25)]:
            checkpoints.save(at(state, step), {"next": step}, accuracy)
        checkpoints.wait()
        assert checkpoints.best_step() == 2


def test_config_and_classes_are_in_the_step_and_are_compared(state, tmp_path):
    with Checkpoints(tmp_path, config=Config(seed=4), classes=("cat", "dog")) as checkpoints:
        checkpoints.save(at(state, 1), {"next": 1.5})
        assert checkpoints.restore(state, 1)[1] == {"next": 1.5}
    assert (tmp_path / "1/classes/data.json").read_text() == '["cat", "dog"]'
    other = override(Config(seed=5), {"data.batch_size": 32})
    with Checkpoints(tmp_path, config=other) as checkpoints:
        with pytest.raises(ValueError, match="1 is of another config than config.json") as error:
            checkpoints.restore(state, 1)
        assert "data.batch_size: 64 -> 32; seed: 4 -> 5" in str(error.value)
    with Checkpoints(tmp_path, classes=("dog", "cat")) as checkpoints:
        with pytest.raises(ValueError, match="(?s)1 is of other classes.*cat, dog -> dog, cat"):
            checkpoints.restore(state, 1)
    # Who asks for neither gets the step.
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        checkpoints.restore(state, 1)


def test_another_model_is_named_array_by_array(state, tmp_path):
    params = {**state.params, "classifier": {"fc": {"kernel": jnp.zeros((16, 4))}}}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(state, 1), {})
        with pytest.raises(ValueError, match="another model") as error:
            checkpoints.restore(state.replace(params=params), 1)
    assert str(error.value).splitlines()[1] == (
        "params/classifier/fc/kernel: float32 16x3 -> float32 16x4"
    )


@pytest.fixture
def saved(state, tmp_path):
    """A folder with the whole steps 1 and 2, and every file of step 2."""
    with Checkpoints(tmp_path, config=Config(), classes=("cat", "dog")) as checkpoints:
        for step in (1, 2):
            checkpoints.save(at(state, step), {"next": step})
    return tmp_path, [path for path in sorted((tmp_path / "2").rglob("*")) if path.is_file()]


def harm_is_seen(folder, state, path, content: bytes | None) -> None:
    """Another content (None: no file) is refused and passed over by name; then it is mended."""
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    lines: list[str] = []
    with Checkpoints(folder, read_only=True, say=lines.append) as checkpoints:
        with pytest.raises(ValueError, match=str(path.relative_to(folder / "2"))):
            checkpoints.restore(state, 2)
        assert checkpoints.latest_step() == 1
    (line,) = lines
    assert line.startswith("checkpoint 2: ")
    assert line.endswith("; using step 1")
    path.write_bytes(whole)


def test_every_file_is_watched(saved, state):
    """A flipped byte, half of the file, none of it, no file; also of files that Orbax ignores."""
    folder, files = saved
    assert len(files) > 12
    for path in files:
        whole = path.read_bytes()
        flipped = bytearray(whole or b"x")
        flipped[len(flipped) // 2] ^= 0x10
        cut = [] if not whole else [whole[: len(whole) // 2], b""]
        for content in [bytes(flipped), *cut, None]:
            harm_is_seen(folder, state, path, content)
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest_step() == 2


def test_500_bit_flips_and_100_truncations_0_silent(saved, state):
    """Bits drawn from all bytes of a step, the more the larger a file is."""
    folder, files = saved
    draw = random.Random(0)
    sizes = [path.stat().st_size for path in files]
    for number in range(600):
        (path,) = draw.choices(files, sizes)
        content = bytearray(path.read_bytes())
        place = draw.randrange(len(content))
        if number < 500:
            content[place] ^= 1 << draw.randrange(8)
        else:
            del content[place:]
        harm_is_seen(folder, state, path, bytes(content))


def test_steps_of_which_none_is_whole_are_not_passed_over_in_silence(saved, state):
    """Nor those of a version that wrote no manifest."""
    folder, _ = saved
    for step in (1, 2):
        (folder / str(step) / "manifest.json").unlink()
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(ValueError, match="no checkpoint is whole") as error:
            checkpoints.latest_step()
    assert "2: it has no manifest.json" in str(error.value)
    assert f"remove {folder} to begin again" in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


def test_a_save_that_fails_in_the_background_is_said_and_leaves_the_others(
    saved, state, monkeypatch
):
    folder, _ = saved

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Checkpoints(folder) as checkpoints:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            checkpoints.save(at(state, 3), {"next": 3})
            with pytest.raises(ValueError, match="step 3 could not be saved") as error:
                for _ in range(10_000):
                    checkpoints.check()
                    time.sleep(0.005)
        first, second = str(error.value).splitlines()
        assert "(No space left on device); it needs about 0.0 MiB, " in first
        assert second.startswith("step 2 is there: make room or mend the disk")
        assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]
        checkpoints.check()
        assert checkpoints.latest_step() == 2
        # Room again.
        checkpoints.save(at(state, 3), {"next": 3})
        assert checkpoints.latest_step() == 3


def test_a_folder_that_vanished_is_not_made_anew(saved, state):
    folder, _ = saved
    with Checkpoints(folder) as checkpoints:
        shutil.rmtree(folder)
        with pytest.raises(ValueError, match="has vanished, step 3 is not saved"):
            checkpoints.save(at(state, 3), {"next": 3})
    assert not folder.exists()


def test_what_a_killed_save_left_is_removed_by_trainers_only(saved):
    folder, _ = saved
    left = folder / "3.saving.orbax-checkpoint-tmp"
    left.mkdir()
    Checkpoints(folder, read_only=True).close()
    assert left.is_dir()
    Checkpoints(folder).close()
    assert not left.exists()

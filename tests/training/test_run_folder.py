"""The files of a run: who may continue it, torn lines, rewinding."""

import pytest

from gtn_jax.config import Config, override
from gtn_jax.training.run_folder import RunFolder

CLASSES = ("cat", "dog")


def test_start_then_read(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.start(Config(seed=4), CLASSES)
    assert folder.config() == Config(seed=4)
    assert folder.classes() == CLASSES
    assert folder.summary() is None
    folder.finish({"test_accuracy": 0.5})
    assert folder.summary() == {"test_accuracy": 0.5}


def test_another_config_is_refused_field_by_field(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start(Config(), CLASSES)
    other = override(Config(), {"data.batch_size": 32, "seed": 1})
    with pytest.raises(ValueError, match="another config") as error:
        folder.start(other, CLASSES)
    assert "data.batch_size: 64 -> 32; seed: 0 -> 1" in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


def test_foreign_folder_is_not_written_to(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        RunFolder(tmp_path).start(Config(), CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_no_run(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        RunFolder(tmp_path).config()


def test_rewind_drops_later_rows_and_a_torn_line(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (5, 10, 15):
        folder.append({"step": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1')
    assert [row["step"] for row in folder.rows()] == [5, 10, 15]
    folder.rewind(10)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 5}\n{"step": 10}\n'

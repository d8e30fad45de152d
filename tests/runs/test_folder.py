"""The files of a run: who may continue it, torn lines, rewinding."""

import pytest

from gtn_jax.config import Config, override
from gtn_jax.runs.folder import Preprocessing, RunFolder

CLASSES = ("cat", "dog")
PREPROCESSING = Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_start_then_read(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.start(Config(seed=4), CLASSES, PREPROCESSING)
    assert folder.config() == Config(seed=4)
    assert folder.classes() == CLASSES
    assert folder.preprocessing() == PREPROCESSING
    assert folder.summary() is None
    folder.finish({"test_accuracy": 0.5})
    assert folder.summary() == {"test_accuracy": 0.5}


def test_another_config_is_refused_field_by_field(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start(Config(), CLASSES, PREPROCESSING)
    other = override(Config(), {"data.batch_size": 32, "seed": 1})
    with pytest.raises(ValueError, match="another config") as error:
        folder.start(other, CLASSES, PREPROCESSING)
    assert "data.batch_size: 64 -> 32; seed: 0 -> 1" in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


def test_foreign_folder_is_not_written_to(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        RunFolder(tmp_path).start(Config(), CLASSES, PREPROCESSING)
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


def test_leftovers_of_a_kill_while_starting_are_no_reason_to_refuse(tmp_path):
    (tmp_path / "config.json.tmp").write_text("{")
    RunFolder(tmp_path).start(Config(), CLASSES, PREPROCESSING)
    (tmp_path / "classes.json").unlink()  # killed between the two
    RunFolder(tmp_path).start(Config(), CLASSES, PREPROCESSING)
    assert RunFolder(tmp_path).classes() == CLASSES


def test_workdir_that_is_a_file(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ValueError, match="run is a file; choose another run folder"):
        RunFolder(tmp_path / "run").check(Config())


@pytest.mark.parametrize("content", ["", "5", '{"mean": [0, 0, 0]}', "[" * 5000, "[1, 2, 3]"])
@pytest.mark.parametrize("name", ["classes.json", "preprocessing.json", "summary.json"])
def test_broken_files_are_named(tmp_path, name, content):
    folder = RunFolder(tmp_path)
    folder.start(Config(), CLASSES, PREPROCESSING)
    (tmp_path / "digests.json").unlink()  # as of an older version
    (tmp_path / name).write_text(content)
    if (name, content) == ("summary.json", '{"mean": [0, 0, 0]}'):
        assert folder.summary() is not None  # it may hold anything
        return
    with pytest.raises(ValueError, match=f"{name}: not readable"):
        getattr(folder, name.removesuffix(".json"))()


@pytest.mark.parametrize(
    "content",
    [
        '{"mean": [0, 0, 0], "std": [1, 1, 0]}',
        '{"mean": [0, 0, NaN], "std": [1, 1, 1]}',
        '{"mean": [0, 0], "std": [1, 1]}',
        '{"mean": ["0", "0", "0"], "std": [1, 1, 1]}',
    ],
)
def test_preprocessing_that_no_image_survives(tmp_path, content):
    folder = RunFolder(tmp_path)
    (tmp_path / "preprocessing.json").write_text(content)
    with pytest.raises(ValueError, match="preprocessing.json: not readable"):
        folder.preprocessing()


def test_damaged_fingerprints_are_named(tmp_path):
    folder = RunFolder(tmp_path)
    for content in ("[]", '{"train": 5}', '{"train": {}}'):
        (tmp_path / "data.json").write_text(content)
        with pytest.raises(ValueError, match="data.json: not readable"):
            folder.check_data({"train": {"images": 3, "sha256": "0"}})


def test_rows_that_are_none(tmp_path):
    folder = RunFolder(tmp_path)
    for content, reason in (
        (b"[1]\n", "not a JSON object"),
        (b"{}\n", "no step"),
        (b'{"step": "1"}\n', "no step"),
        (b"\xff\n", "not JSON"),
        (b"[" * 5000 + b"\n", "not JSON"),
    ):
        (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + content)
        with pytest.raises(ValueError, match=f"metrics.jsonl, line 2: {reason}"):
            folder.rewind(1)


def test_of_many_processes_only_the_first_writes(tmp_path):
    other = RunFolder(tmp_path / "run", writes=False)
    other.check_writable()
    other.start(Config(), CLASSES, PREPROCESSING)
    other.keep_data({})
    other.append({"step": 1})
    other.sync()
    other.rewind(0)
    other.finish({"steps": 1})
    assert not (tmp_path / "run").exists()

"""Small files and their digests, whenever a process is killed and whoever reads beside it."""

import json
import os
import threading

import numpy as np
import pytest

from gtn_jax import files
from gtn_jax.config import Config
from gtn_jax.config.serialization import to_json, to_tree
from gtn_jax.runs import digests
from gtn_jax.runs.digests import SealedFiles
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.runs.predictions import SavedPredictions

CLASSES, PREPROCESSING = ("cat", "dog"), Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
DATA = {"train": {"images": 2, "sha256": "00"}}
FILES = {
    "config.json", "classes.json", "preprocessing.json", "data.json", "starts.jsonl",
    "metrics.jsonl", "predictions.npz", "summary.json",
}  # fmt: skip
MANY = 99


class Killed(BaseException):
    """What ends a process here."""


@pytest.fixture(autouse=True)
def noted(monkeypatch):
    """What has been noted in this test."""
    found = []
    monkeypatch.setattr(digests, "_noted", found)
    return found


@pytest.fixture
def kill_before(monkeypatch):
    """kill_before(n): the n-th durable write from then on, and each after it, does not happen."""
    write, left = files.write_bytes, [MANY]

    def killable(path, content):
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        write(path, content)

    monkeypatch.setattr(files, "write_bytes", killable)

    def kill_before(writes):
        left[0] = writes

    return kill_before


def said():
    one = np.zeros(1, np.int32)
    return {"test": SavedPredictions(np.array(["a"]), one, one, one + 0.5, one + 0.5)}


def train(path):
    """What loop.run does of the small files of a run, from wherever it stands."""
    folder = RunFolder(path)
    folder.check(Config())
    if folder.is_finished():
        folder.summary()
        folder.seal()
        return
    folder.check_data(DATA)
    folder.start(Config(), CLASSES, PREPROCESSING)
    folder.keep_data(DATA)
    folder.rewind(0)
    folder.append_start({"step": 0})
    folder.append({"step": 1, "split": "train"})
    folder.finish({"selected_step": 1}, said())


def look(path):
    """Every reader, on files of which none is damaged."""
    folder = RunFolder(path)
    assert set(digests.verify(path).values()) <= {None}
    for read in (
        folder.config, folder.classes, folder.preprocessing, folder.summary, folder.rows,
        folder.starts, lambda: folder.predictions("test"), lambda: folder.check_data(DATA),
    ):  # fmt: skip
        try:
            read()
        except ValueError as error:
            assert "holds no run" in str(error) or "no such file" in str(error)


def of_an_older_format(path):
    """A run as it stands in training, its config.json in another form but of the same config."""
    folder = RunFolder(path)
    folder.start(Config(), CLASSES, PREPROCESSING)
    folder.keep_data(DATA)
    text = json.dumps(to_tree(Config()))
    (path / "config.json").write_text(text)
    known = digests.read(path)
    assert known is not None
    digests.write(path, known | {"config.json": digests.of_bytes(text.encode())})


def without_its_summary(path):
    """A finished run whose summary.json was removed, so that it is evaluated again."""
    train(path)
    (path / "summary.json").unlink()


@pytest.mark.parametrize("before", [None, of_an_older_format, without_its_summary])
def test_killed_before_each_write_then_read_and_trained_on(tmp_path, kill_before, before):
    for writes in range(MANY):
        path = tmp_path / str(writes)
        path.mkdir()
        if before is not None:
            before(path)
        kill_before(writes)
        try:
            train(path)
            is_over = True
        except Killed:
            is_over = False
        kill_before(MANY)
        if before is not without_its_summary or writes:
            look(path)
        train(path)
        look(path)
        assert digests.verify(path) == dict.fromkeys(FILES)
        assert (path / "config.json").read_text() == to_json(Config())
        assert RunFolder(path).unsealed() == []
        if is_over:
            break
    # 4 files, digests of 3 and then of 1; or digests, config.json, digests; or digests, metrics.
    # Then predictions, summary, digests of the rest.
    assert writes == {None: 6, of_an_older_format: 3, without_its_summary: 2}[before] + 3


def test_what_is_as_it_should_be_is_not_touched(tmp_path):
    folder = RunFolder(tmp_path)
    for _ in range(2):
        folder.start(Config(), CLASSES, PREPROCESSING)
        folder.keep_data(DATA)
        times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    folder.start(Config(), CLASSES, PREPROCESSING)
    folder.keep_data(DATA)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    assert digests.verify(tmp_path).keys() == FILES - {
        "starts.jsonl", "metrics.jsonl", "predictions.npz", "summary.json"
    }  # fmt: skip


def test_training_on_puts_back_what_it_writes_anyway(tmp_path):
    """Damage to these files does not lock out who knows what stands in them; readers it does."""
    for name in ("config.json", "classes.json", "preprocessing.json", "data.json"):
        for harm in (lambda path: path.write_bytes(b"{}"), lambda path: path.unlink()):
            path = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
            train(path)
            (path / "summary.json").unlink()
            harm(path / name)
            assert digests.verify(path)[name] is not None
            train(path)
            assert digests.verify(path) == dict.fromkeys(FILES)


def test_a_finished_run_whose_summary_is_damaged_or_gone(tmp_path):
    train(tmp_path)
    sound = (tmp_path / "summary.json").read_text()
    (tmp_path / "summary.json").write_text(sound.replace("1", "2"))
    with pytest.raises(ValueError, match=r"summary.json has changed.* or remove summary.json"):
        train(tmp_path)
    (tmp_path / "summary.json").unlink()
    with pytest.raises(ValueError, match="summary.json is missing"):
        RunFolder(tmp_path).summary()
    train(tmp_path)
    assert (tmp_path / "summary.json").read_text() == sound
    assert digests.verify(tmp_path) == dict.fromkeys(FILES)


def test_an_older_run_is_noted_once_and_sealed_by_who_trains(tmp_path, capsys, noted):
    for name in ("a", "b"):
        train(tmp_path / name)
        (tmp_path / name / "digests.json").unlink()
    for name in ("a", "b"):
        look(tmp_path / name)
    note = f"note    {tmp_path}/a/config.json has no digest, as an older version wrote it: damage "
    error = capsys.readouterr().err
    assert error.startswith(note) and len(error.splitlines()) == 1
    noted.clear()
    train(tmp_path / "a")
    assert digests.verify(tmp_path / "a") == dict.fromkeys(FILES)
    capsys.readouterr()
    noted.clear()
    look(tmp_path / "a")
    assert capsys.readouterr().err == ""


def test_predictions_alone(tmp_path):
    """Of a sweep that was killed and is run again."""
    folder, (first,) = RunFolder(tmp_path / "trial"), said().values()
    folder.path.mkdir()
    for label in (0, 3):
        folder.keep_predictions({"test": first._replace(labels=first.labels + label)})
        assert digests.verify(folder.path) == {"predictions.npz": None}
        found = folder.predictions("test")
        assert found is not None and found.labels.tolist() == [label]


def test_files_that_grow_need_no_digest_yet(tmp_path, capsys):
    folder = RunFolder(tmp_path)
    folder.start(Config(), CLASSES, PREPROCESSING)
    folder.append({"step": 1})
    folder.append_start({"step": 0})
    assert len(folder.rows()) == len(folder.starts()) == 1
    assert folder.unsealed() == []
    assert capsys.readouterr().err == ""


def test_who_reads_beside_one_who_writes_sees_no_damage(tmp_path, monkeypatch):
    """Other texts all the time; every read is of one of them."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    texts, over, seen = [f"{turn}\n" for turn in range(200)], threading.Event(), []
    SealedFiles(tmp_path, True, ()).replace({"config.json": texts[0]})

    def write():
        for text in texts:
            SealedFiles(tmp_path, True, ()).replace({"config.json": text})
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        seen.append(SealedFiles(tmp_path, False, ()).read("config.json"))
    writer.join()
    assert set(seen) <= {text.encode() for text in texts}
    assert len(seen) > 10

"""Files that are whole or not there, and what is said when the disk refuses."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from gtn_jax import files


def refuse(number: int):
    def call(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return call


def test_write_replaces(tmp_path):
    path = tmp_path / "a.json"
    files.write_text(path, "old")
    files.write_text(path, "né")
    assert path.read_bytes() == b"n\xc3\xa9"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "a.json"
    files.write_text(path, "old")
    monkeypatch.setattr(os, call, refuse(errno.ENOSPC))
    with pytest.raises(ValueError, match=r"a.json: could not be written \(No space left on device"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    files.write_text(path, "old")
    with pytest.raises(KeyError), files.replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_folder_is_complete_or_not_there(tmp_path):
    with pytest.raises(KeyError), files.new_folder(tmp_path / "a") as partial:
        (partial / "half").touch()
        raise KeyError
    assert os.listdir(tmp_path) == []
    with files.new_folder(tmp_path / "a") as partial:
        (partial / "file").touch()
        assert not (tmp_path / "a").exists()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["a", "a/file"]


def test_file_and_folder_are_forced_to_the_disk_in_this_order(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def record_replace(source, target):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    files.write_text(tmp_path / "a.json", "text")
    assert calls == ["a.json.tmp", "rename", tmp_path.name]


def test_folder_that_vanished(tmp_path):
    for write in (files.write_text, files.append_text):
        with pytest.raises(ValueError, match=r"gone has vanished .*a.txt could not be written"):
            write(tmp_path / "gone" / "a.txt", "text")


def test_writable_folders_are_left_as_they_were(tmp_path):
    files.check_writable(tmp_path)
    files.check_writable(tmp_path / "not" / "there")
    assert os.listdir(tmp_path) == []


def test_folder_that_cannot_be_written_to():
    """Not even by root."""
    if not Path("/proc/self").exists():
        pytest.skip("no /proc")
    with pytest.raises(ValueError, match="/proc/run: nothing can be written to /proc") as error:
        files.check_writable(Path("/proc/run"))
    assert len(str(error.value).splitlines()) == 1


def test_full_disk_is_found_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    with pytest.raises(ValueError, match="No space left on device.*choose another folder"):
        files.check_writable(tmp_path)
    assert os.listdir(tmp_path) == []


def test_reason_is_found_below_what_others_made_of_it():
    try:
        try:
            refuse(errno.EIO)()
        except OSError as error:
            raise RuntimeError("a page of words") from error
    except RuntimeError as error:
        assert files.reason(error) == "Input/output error"
    theirs = ValueError("Failed to write 9 bytes to file 4: File too large [os_error_code='27']")
    assert files.reason(theirs) == "File too large"
    assert files.reason(ValueError("one\ntwo")) == "one"
    assert files.reason(KeyError()) == "KeyError"


def test_remove_takes_files_folders_and_nothing(tmp_path):
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "folder/inner/file").touch()
    (tmp_path / "file").touch()
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "link").symlink_to(kept)
    for name in ("folder", "file", "link", "absent"):
        files.remove(tmp_path / name)
    assert os.listdir(tmp_path) == ["kept"]


def test_arrays_and_nothing_else(tmp_path):
    files.write_arrays(tmp_path / "a.npz", {"names": np.array(["é"]), "count": 3})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert sorted(file) == ["count", "names"] and int(file["count"]) == 3
    with pytest.raises(AssertionError):
        files.write_arrays(tmp_path / "b.npz", {"objects": np.array([None])})
    assert not (tmp_path / "b.npz").exists()

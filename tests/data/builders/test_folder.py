"""`folder:PATH` from files to splits: prepared once, again when files change, and bad files."""

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gtn_jax.config import DataConfig
from gtn_jax.data.builders.folder import open_folder
from gtn_jax.data.decode import decode, decode_whole
from gtn_jax.data.sources import absolute, open_splits


def png(seed: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def root(tmp_path) -> Path:
    files = {
        "train/ant/a b.png": 1,
        "train/ant/é\n.png": 2,
        "train/bee/1.png": 3,
        "val/bee/1.png": 4,
    }
    for file, seed in files.items():
        path = tmp_path / "photos" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))
    return tmp_path / "photos"


@pytest.fixture
def opened(root, tmp_path):
    """open(**options): `open_folder`, and what it said."""

    def open(**options):
        said = []
        splits = open_folder(root, str(tmp_path / "data"), say=said.append, **options)
        return splits, said

    return open


def homes(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "data/folder").iterdir())


@pytest.mark.parametrize("short_side", [None, 16])
def test_splits(opened, short_side):
    splits, _ = opened(short_side=short_side)
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "validation": 1}
    assert splits["validation"].classes == ("ant", "bee")
    assert splits["train"].stored_short_side == short_side
    examples = splits["train"].read([0, 1, 2])
    assert [(example["file"].decode(), example["label"]) for example in examples] == [
        ("train/ant/a b.png", 0),
        ("train/ant/é\\n.png", 0),
        ("train/bee/1.png", 1),
    ]
    expected = decode_whole(png(3), 16, "a")
    assert expected.shape == (16, 21, 3)
    np.testing.assert_array_equal(decode_whole(examples[2]["image"], 16, "a"), expected)
    (held_out,) = splits["validation"].read([0])
    np.testing.assert_array_equal(
        decode(held_out["image"], 12, "a", 16), decode(png(4), 12, "a", 16)
    )


def test_prepared_once_and_again_when_it_changed(opened, root, tmp_path):
    opened()
    (home,) = homes(tmp_path)
    record = next(home.rglob("*.array_record*"))
    written = record.stat().st_mtime_ns
    started = time.monotonic()
    opened()
    assert time.monotonic() - started < 0.5
    assert homes(tmp_path) == [home] and record.stat().st_mtime_ns == written
    opened(short_side=16)
    assert len(homes(tmp_path)) == 2
    os.utime(root / "val/bee/1.png", ns=(1, 1))
    opened()
    assert len(homes(tmp_path)) == 3
    (root / "train/bee/2.png").write_bytes(png(5))
    splits, _ = opened()
    assert len(homes(tmp_path)) == 4 and len(splits["train"]) == 4


def test_unreadable_files_are_all_named_or_left_out(opened, root, tmp_path):
    for number in range(6):
        (root / f"train/ant/bad{number}.jpg").write_bytes(b"<html>")
    os.mkfifo(root / "val/bee/pipe.jpg")
    for short_side in (16, None):
        with pytest.raises(ValueError, match="7 unreadable files: train/ant/bad0.jpg: ") as refused:
            opened(short_side=short_side)
    message = str(refused.value)
    assert message.count("a web page") == 5 and "and 2 more" in message
    assert "`gtn check-data" in message and "data.bad_images skip" in message
    assert len(message.splitlines()) == 2
    for _ in range(2):  # the second time, from what is prepared
        splits, said = opened(short_side=16, bad_images="skip")
        assert len(splits["train"]) == 3 and len(splits["validation"]) == 1
        assert "7 unreadable files left out" in said[-1]
    (note,) = (tmp_path / "data/folder").rglob("left_out.txt")
    assert len(note.read_text().splitlines()) == 7


def test_a_class_must_keep_an_image(opened, root):
    (root / "train/bee/1.png").write_bytes(b"")
    with pytest.raises(ValueError, match="no training image of bee can be read"):
        opened(bad_images="skip")


def test_a_split_must_keep_an_image(opened, root):
    (root / "val/bee/1.png").write_bytes(b"")
    for short_side in (None, 16):
        with pytest.raises(ValueError, match="no validation image can be read; .* remove val/"):
            opened(bad_images="skip", short_side=short_side)


def test_one_preparation_for_both_policies(opened, root, tmp_path):
    opened(short_side=16)
    opened(short_side=16, bad_images="skip")
    assert len(homes(tmp_path)) == 1
    (root / "train/ant/bad.jpg").write_bytes(b"<html>")
    opened(short_side=16, bad_images="skip")
    # What was left out then is an error now, although there are records.
    with pytest.raises(ValueError, match="1 unreadable files: train/ant/bad.jpg: .*\n.*skip"):
        opened(short_side=16)


def test_what_is_said(opened, root):
    for number in range(30):
        (root / f"train/ant/{number}.HEIC").touch()
    (root / "notes.txt").touch()
    _, said = opened()
    assert said == [
        f"folder {root}: not read: 30 .heic",
        f"folder {root}: train 3, validation 1 images",
    ]
    assert opened()[1] == said[:1]


def test_path_alone_is_a_folder(root, tmp_path, monkeypatch):
    """Where no data set has the name; so a folder called digits has to be said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    for name, meant in [
        ("photos/", f"folder:{root}"),
        (str(root), f"folder:{root}"),
        ("digits", "digits"),
        ("nowhere", "nowhere"),
        ("folder:photos", f"folder:{root}"),
    ]:
        assert absolute(DataConfig(name=name)).name == meant
    found = open_splits("photos", str(tmp_path / "data"), say=lambda line: None)
    assert {name: len(split) for name, split in found.items()} == {"train": 3, "validation": 1}

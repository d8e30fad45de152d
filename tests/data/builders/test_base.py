"""What all builders share: resizing, checks, and that only a finished job counts."""

import contextlib
import io
import os

import numpy as np
import pytest
from PIL import Image

from gtn_jax.data import stores
from gtn_jax.data.builders.base import Example, ImageClassificationBuilder
from gtn_jax.data.builders.encode import encode
from gtn_jax.data.builders.listed import Dtd
from gtn_jax.data.sources import open_splits, prepare


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


class Three(ImageClassificationBuilder):
    """Two images to train, one to test, as array, bytes and path."""

    name = "three"
    unit = "clips"
    known_counts = {"": {"train": 2, "test": 1}}
    splits = None

    def classes(self):
        return ["a", "b"]

    def examples(self):
        return self.splits(self.source)

    def counts(self, splits):
        return {"train": 2, "test": len(splits["test"])}


def three(tmp_path, splits, **arguments):
    said = []
    kind = type("Three", (Three,), {"splits": staticmethod(splits)}, skip_registration=True)
    builder = kind(source=tmp_path, data_dir=tmp_path / "data", say=said.append, **arguments)
    builder.download_and_prepare()
    return builder, said


def stored(builder, split):
    examples = builder.as_data_source(split=split)
    return [(e["file"], e["label"], e["image"]) for e in examples]


def test_array_bytes_and_path(tmp_path):
    path = tmp_path / "c.png"
    path.write_bytes(png(noise(20, 10, seed=2)))
    one, two = noise(8, 12), png(noise(12, 8, seed=1))

    def splits(source):
        train = (Example(*row) for row in [("1", one, 1), ("2", two, 0)])  # of no known length
        return {"train": train, "test": [Example("3", path, 1)]}

    builder, said = three(tmp_path, splits, short_side=8)
    (first, second), (third,) = stored(builder, "train"), stored(builder, "test")
    assert (first[0], first[1], second[0], second[1]) == (b"1", 1, b"2", 0)
    # A short side that is 8 already stays as it is; 20 x 10 becomes 16 x 8.
    np.testing.assert_array_equal(first[2], one)
    np.testing.assert_array_equal(second[2], noise(12, 8, seed=1))
    assert third[2].shape == (16, 8, 3)
    expected = Image.fromarray(noise(20, 10, seed=2)).resize((8, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(third[2], np.asarray(expected))
    assert said == ["three: train 2 of 2, test 1 of 1 clips, as published"]
    assert (tmp_path / "data/three/8px/1.0.0/dataset_info.json").is_file()


def test_same_bytes_in_two_splits_are_a_warning(tmp_path):
    same = png(noise(9, 9))

    def splits(source):
        train = [Example("1", same, 0), Example("2", same, 1)]
        return {"train": train, "test": [Example("3", same, 0)]}

    _, said = three(tmp_path, splits)
    # Twice in one split is no leak; the last is.
    assert said[1:] == [
        "warning: 1 images are byte for byte in another split too, e.g. test 3 = train 1"
    ]


def test_wrong_count(tmp_path):
    def splits(source):
        part = [Example(str(i), png(noise(9, 9, i)), 0) for i in range(2)]
        return {"train": part, "test": part}

    message = (
        "three: train 2 of 2, test 2 of 1 clips: not the published numbers; .*allow_partial=True"
    )
    with pytest.raises(ValueError, match=message):
        three(tmp_path, splits)
    assert list(tmp_path.rglob("*.json")) == []
    _, said = three(tmp_path, splits, allow_partial=True)
    assert "not the published data set" in said[0]


def test_unreadable_files_are_listed_once(tmp_path, monkeypatch):
    monkeypatch.setattr(Three, "known_counts", {})

    def splits(source):
        good, last = (Example(name, png(noise(9, 9)), 0) for name in ("good", "last"))
        bad = [Example(f"bad{i}", b"<html>", 0) for i in range(2)]
        return {"train": [bad[0], good], "test": [bad[1], last]}

    message = "2 unreadable: bad0: .*; bad1: .*\nrepair them, or pass `allow_partial=True`"
    with pytest.raises(ValueError, match=message) as caught:
        three(tmp_path, splits, short_side=8, allow_partial=False)
    assert len(str(caught.value).splitlines()) <= 3
    assert list(tmp_path.rglob("*.array_record*")) == []
    builder, said = three(tmp_path, splits, short_side=8, allow_partial=True)
    assert any("2 unreadable" in line and "left out" in line for line in said)
    assert [row[0] for row in stored(builder, "test")] == [b"last"]
    prepared = stores.load_prepared(tmp_path / "data/three/8px/1.0.0")
    assert prepared == ({"train": 2, "test": 2}, "clips", True)


def test_many_unreadable_files_are_in_a_list(tmp_path, monkeypatch):
    monkeypatch.setattr(Three, "known_counts", {})
    bad = [Example(f"bad{i}", b"<html>", 0) for i in range(12)]
    good = Example("good", png(noise(9, 9)), 0)
    path = tmp_path / "data/three/8px/unreadable.txt"

    def splits(source):
        return {"train": [*bad, good], "test": [good]}

    with pytest.raises(ValueError, match=f"12 unreadable: .*; and 2 more, all of them in {path}"):
        three(tmp_path, splits, short_side=8)
    assert [line.split(":")[0] for line in path.read_text().splitlines()] == [e.file for e in bad]
    del bad[2:]
    three(tmp_path, splits, short_side=8, allow_partial=True)
    assert not path.exists()


def test_a_split_without_an_image_is_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(Three, "known_counts", {})
    bad = [Example(f"bad{i}", b"<html>", 0) for i in range(12)]
    message = "^the split train has no image at all that can be read; .*\n12 unreadable: bad0"
    for allow_partial in (False, True):
        with pytest.raises(ValueError, match=message):
            three(tmp_path, lambda source: {"train": bad, "test": []}, allow_partial=allow_partial)
    with pytest.raises(ValueError, match="^the split test has no image at all; complete the"):
        good = Example("good", png(noise(9, 9)), 0)
        three(tmp_path, lambda source: {"train": [bad[0], good], "test": []}, allow_partial=True)


def test_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="a.jpg is not a regular file"):
        encode(tmp_path / "a.jpg", "a.jpg", 8)


def test_interrupted_preparation_leaves_nothing(tmp_path):
    def splits(source):
        def train():
            yield Example("1", png(noise(9, 9)), 0)
            raise KeyboardInterrupt

        return {"train": train(), "test": []}

    with pytest.raises(KeyboardInterrupt):
        three(tmp_path, splits, allow_partial=True)
    assert list((tmp_path / "data").rglob("*.*")) == []


def test_dtd_prepared_and_opened(dtd_tree, tmp_path, monkeypatch):
    data_dir, said = str(tmp_path / "data"), []
    monkeypatch.setattr(Dtd, "known_counts", {"1": {"train": 2, "validation": 2, "test": 2}})
    counts = prepare("dtd/1", data_dir, dtd_tree, short_side=16, say=said.append)
    assert counts == {"train": 2, "validation": 2, "test": 2}
    assert said == ["dtd/1: train 2 of 2, validation 2 of 2, test 2 of 2 images, as published"]
    splits = open_splits("dtd/1", data_dir, 16, say=said.append)
    assert len(said) == 1  # it is whole
    assert splits["train"].stored_short_side == 16
    assert splits["train"].classes == ("banded", "zigzagged")
    (example,) = splits["test"].read([0])
    assert example["file"] == b"images/zigzagged/zigzagged_0005.jpg"
    # Lossless: what Pillow makes of the JPEG, 24 x 36 resized to 16 x 24.
    with Image.open(dtd_tree / "dtd" / example["file"].decode()) as image:
        expected = image.convert("RGB").resize((24, 16), Image.Resampling.BILINEAR)
    with Image.open(io.BytesIO(example["image"])) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_part_of_a_data_set_does_not_pass_for_all(dtd_tree, tmp_path):
    data_dir = str(tmp_path / "data")
    with pytest.raises(ValueError, match=r"dtd/1: train 2 of 1,880.*allow_partial=True"):
        prepare("dtd/1", data_dir, dtd_tree, short_side=8)
    assert prepare("dtd/1", data_dir, dtd_tree, short_side=8, allow_partial=True)["test"] == 2
    said = []
    with pytest.raises(ValueError, match=r"1-8px/1.0.0 holds .*'train': 2.* not the published"):
        prepare("dtd/1", data_dir, dtd_tree, short_side=8, say=said.append)
    assert "there already" in said[0]
    assert prepare("dtd/1", data_dir, None, short_side=8, allow_partial=True)["test"] == 2
    (tmp_path / "data/dtd/1-8px/1.0.0/prepared.json").write_text("{")
    with pytest.raises(ValueError, match="prepared.json is damaged; remove .*1-8px/1.0.0"):
        open_splits("dtd/1", data_dir, 8)
    # A store from before this file was written.
    (tmp_path / "data/dtd/1-8px/1.0.0/prepared.json").unlink()
    with pytest.raises(ValueError, match="not the published data set"):
        prepare("dtd/1", data_dir, short_side=8)
    said.clear()
    assert len(open_splits("dtd/1", data_dir, 8, say=said.append)) == 3 and said == []


def test_own_lists_that_lack_a_file_are_a_part(dtd_tree, tmp_path):
    for name in ("train", "val", "test"):
        lists = dtd_tree / "dtd/labels"
        (lists / f"{name}Ten.txt").write_bytes((lists / f"{name}1.txt").read_bytes())
    data_dir, said = str(tmp_path / "data"), []
    prepare("dtd/Ten", data_dir, dtd_tree, 8, allow_partial=True)
    open_splits("dtd/Ten", data_dir, 8, say=said.append)
    assert said == []  # nothing was passed over
    (dtd_tree / "dtd/images/banded/banded_0002.jpg").unlink()
    prepare("dtd/Ten", data_dir, dtd_tree, 9, allow_partial=True)
    open_splits("dtd/Ten", data_dir, 9, say=said.append)
    assert said == ["dtd/Ten: not the published data set (prepared with allow_partial)"]


def test_who_waited_for_a_part_is_told(dtd_tree, tmp_path, monkeypatch):
    data_dir = str(tmp_path / "data")

    @contextlib.contextmanager
    def waited(parent, say):
        monkeypatch.undo()  # the other one, while this one waits
        prepare("dtd/1", data_dir, dtd_tree, 8, allow_partial=True)
        yield

    monkeypatch.setattr(stores, "locked", waited)
    with pytest.raises(ValueError, match="not the published data set"):
        prepare("dtd/1", data_dir, dtd_tree, 8)


def test_our_names_leave_tfds_its_own():
    """Its catalog has a dtd too: looking anything up there imports it."""
    from tensorflow_datasets.core import registered

    class Ours(ImageClassificationBuilder):
        name = "of_both"

    class Theirs(registered.RegisteredDataset):
        name = "of_both"

    class OursToo(ImageClassificationBuilder):
        name = "of_both"

    assert registered._DATASET_REGISTRY.pop("of_both") is Theirs
    assert not [kind for kind in registered._DATASET_REGISTRY.values() if issubclass(kind, Dtd)]

"""The two builders: real digits, and a small file in Tiny-ImageNet's layout."""

import io
import tempfile

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from gtn_jax.data.builders.digits import split_indices
from gtn_jax.data.decode import decode
from gtn_jax.data.sources import open_splits, prepare


def test_digits_splits(data_dir):
    splits = open_splits("digits", data_dir)
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 997,
        "validation": 300,
        "test": 500,
    }
    assert splits["train"].classes == tuple("0123456789")
    files = [e["file"] for split in splits.values() for e in split.read(range(len(split)))]
    assert len(set(files)) == 1797  # every image is in one split, and in one only


def test_digits_are_scikit_learns(data_dir):
    images, labels = load_digits(return_X_y=True)
    for example in open_splits("digits", data_dir)["test"].read(range(0, 500, 50)):
        number = int(example["file"].decode().removesuffix(".png"))
        assert example["label"] == labels[number]
        pixels = decode(example["image"], 8, "digit")
        expected = np.minimum(images[number].reshape(8, 8) * 16, 255)
        np.testing.assert_array_equal(pixels[..., 0], expected)
        np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def test_digits_splits_are_stratified():
    _, labels = load_digits(return_X_y=True)
    parts = split_indices(labels)
    share = np.bincount(labels) / 1797
    for part in parts.values():
        counts = np.bincount(labels[part])
        assert np.all(np.abs(counts - share * len(part)) <= 1.5)


def tiny_imagenet_file(path):
    """Six training images and two validation images, of two classes, in the .npz layout."""

    def jpeg(value):
        file = io.BytesIO()
        Image.new("RGB", (32, 32), (value, value, value)).save(file, "JPEG")
        return np.frombuffer(file.getvalue(), np.uint8)

    def part(values, labels):
        files = [jpeg(value) for value in values]
        offsets = np.cumsum([0, *(len(file) for file in files)])
        return np.concatenate(files), offsets, np.array(labels, np.int16)

    arrays = {}
    for name, values, labels in [
        ("train", [0, 40, 80, 120, 160, 200], [0, 1, 0, 1, 0, 1]),
        ("val", [90, 210], [1, 0]),
    ]:
        parts = zip(("jpeg", "offsets", "labels"), part(values, labels), strict=True)
        arrays |= {f"{name}_{key}": value for key, value in parts}
    np.savez(path, names=np.array(["cat, tabby", "dog"]), wnids=np.array(["n1", "n2"]), **arrays)
    return path


def test_tiny_imagenet(tmp_path):
    source = tiny_imagenet_file(tmp_path / "tiny.npz")
    counts = prepare("tiny_imagenet", str(tmp_path / "data"), source)
    assert counts == {"train": 6, "validation": 2}
    splits = open_splits("tiny_imagenet", str(tmp_path / "data"))
    assert splits["train"].classes == ("cat, tabby", "dog")
    examples = splits["validation"].read([1, 0])
    assert [example["label"] for example in examples] == [0, 1]
    assert abs(int(decode(examples[0]["image"], 32, "a")[5, 5, 0]) - 210) <= 1


def test_preparing_leaves_nothing_behind(tmp_path, monkeypatch):
    """TFDS makes a temporary folder for what it would ask a server about our data."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    prepare("digits", str(tmp_path / "data"))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_missing_source_says_how_to_bring_it(tmp_path):
    with pytest.raises(ValueError, match=r"`prepare\(.tiny_imagenet., source=PATH"):
        open_splits("tiny_imagenet", str(tmp_path))
    with pytest.raises(ValueError, match=r"nowhere.npz is not a file"):
        prepare("tiny_imagenet", str(tmp_path), tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"text", b"PK\x03\x04 but no zip"])
def test_broken_source_is_named(tmp_path, content):
    source = tmp_path / "tiny.npz"
    source.write_bytes(content)
    with pytest.raises(ValueError, match="tiny.npz: not a readable"):
        prepare("tiny_imagenet", str(tmp_path), source)
    np.savez(source, names=np.array(["cat"]))
    with pytest.raises(ValueError, match="tiny.npz: lacks the arrays train_jpeg, train_labels"):
        prepare("tiny_imagenet", str(tmp_path), source)


def test_unknown_data_set_offers_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'digit'; did you mean digits"):
        open_splits("digit", str(tmp_path))
    with pytest.raises(ValueError, match="unknown data set"):
        prepare("digit", str(tmp_path))

"""Prepared data sets whose files were damaged or edited afterwards."""

import shutil
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def store(data_dir, tmp_path):
    """A copy of the digits' records."""
    shutil.copytree(data_dir, tmp_path / "data")
    (info,) = (tmp_path / "data").rglob("dataset_info.json")
    return info.parent


@pytest.fixture
def store_refuses(train_refuses, store, tmp_path):
    def store_refuses(says):
        # ArrayRecord's reader and TFDS leave nothing behind, a preparation its lock.
        data = ["--data.data_dir", tmp_path / "data"]
        return train_refuses(*data, says=[str(store), *says], writes=[store.parent / ".lock"])

    return store_refuses


FILES = ("dataset_info.json", "features.json", "label.labels.txt", "index-train.npz",
         "digits-train.array_record-00000-of-00001")  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_damaged_files(store_refuses, store, file):
    path: Path = store / file
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "pickle" not in store_refuses(["prepare the data set again"])
    path.write_bytes(b"")
    store_refuses(["prepare the data set again"])
    path.write_bytes(b"<html>Not found</html>")
    assert "pickle" not in store_refuses(["prepare the data set again"])
    path.unlink()
    store_refuses(["prepare the data set again"])


def test_a_flipped_bit_in_a_record(store_refuses, store):
    """Each record has a checksum: no image is ever another one."""
    path = store / FILES[-1].replace("train", "test")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    store_refuses(["damaged (Corrupted Riegeli/records file"])


def test_it_is_prepared_again_when_its_folder_is_removed(store, photographs, tmp_path):
    from gtn_jax.data.builders.folder import open_folder

    data_dir = str(tmp_path / "folders")
    open_folder(photographs, data_dir, 16)
    (info,) = Path(data_dir).rglob("dataset_info.json")
    info.write_text("")
    with pytest.raises(ValueError, match="remove this folder and prepare") as refused:
        open_folder(photographs, data_dir, 16)
    assert str(info.parent) in str(refused.value)
    shutil.rmtree(info.parent)
    assert len(open_folder(photographs, data_dir, 16)["train"]) == 12


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (10, "1 labels of train are of no class, first that of image 3 (train_0003.png): 10, "),
        (-1, "(train_0003.png): -1, wanted 0 to 9"),
    ],
)
def test_labels_of_no_class(store_refuses, store, label, says):
    path = store / "index-train.npz"
    with np.load(path) as arrays:
        index = dict(arrays)
    says = says.replace("train_0003.png", str(index["files"][3]))
    index["labels"][3] = label
    np.savez(path, **index)
    store_refuses([says])
    index = {name: array[:-1] for name, array in index.items()}
    np.savez(path, **index)
    store_refuses([f"an index of {len(index['labels'])} images for the"])

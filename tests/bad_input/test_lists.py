"""Published data sets with damaged lists, labels or arrays, and hostile archives."""

import tarfile
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.archive_files import packed_zip, tar


@pytest.fixture
def dtd(tmp_path):
    """DTD's layout with two classes of three images, and the lists of split 1."""
    root = tmp_path / "dtd"
    generator = np.random.default_rng(0)
    for number in range(3):
        for name in ("banded", "woven"):
            path = root / "images" / name / f"{name}_{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (9, 9, 3), np.uint8)).save(path)
    (root / "labels").mkdir()
    for number, split in enumerate(("train", "val", "test")):
        text = f"banded/banded_{number}.jpg\nwoven/woven_{number}.jpg\n"
        (root / f"labels/{split}1.txt").write_text(text)
    return root


@pytest.fixture
def prepare_refuses(cli_refuses, tmp_path):
    """prepare_refuses(name, source, says): and that only the empty folder of the data stays."""

    def prepare_refuses(name, source, says, *options):
        data_dir = tmp_path / "prepared"
        command = ["prepare", name, "--source", source, "--data_dir", data_dir, *options]
        cli_refuses(*command, says=says, writes=[data_dir])
        left = [path for path in data_dir.rglob("*") if path.is_file()]
        assert {path.name for path in left} <= {".lock"}

    return prepare_refuses


@pytest.mark.parametrize(
    ("split", "content", "says"),
    [
        ("train", b"banded/banded_9.jpg", "labels/train1.txt:1: images/banded/banded_9.jpg"),
        ("train", b"\n\nbanded/banded_0.JPG", "labels/train1.txt:3: images/banded/banded_0.JPG"),
        ("train", b"\xef\xbb\xbf\r\nbanded/x.jpg\r\n", "labels/train1.txt:2: images/banded/x"),
        ("train", b"woven/woven_0.jpg\nwoven/woven_0.jpg", "labels/train1.txt:2: images/woven/"),
        ("test", b"woven/woven_0.jpg\n", "stands in labels/train1.txt:2 already; every file"),
        ("train", b"woven/\xff.jpg", "labels/train1.txt:1: b'woven/\\xff.jpg' is not UTF-8"),
        ("train", b"../labels/train1.txt", "labels/train1.txt:1: 'images/../labels/train1.txt'"),
        ("train", b"/etc/passwd", "labels/train1.txt:1: '/etc/passwd' is not a valid file name"),
        ("train", b"woven/woven_0\0.jpg", "labels/train1.txt:1: "),
        ("train", b"woven woven_0.jpg", "'woven woven_0.jpg' is not of the form CLASS/FILE"),
        ("train", b"woven/woven_0.jpg,1", "images/woven/woven_0.jpg,1 is not in"),
        ("train", b"<html>\n</html>", "labels/train1.txt:1: '<html>' is not of the form"),
    ],
)
def test_split_files(prepare_refuses, dtd, split, content, says):
    (dtd / f"labels/{split}1.txt").write_bytes(content)
    prepare_refuses("dtd/1", dtd, says)


def test_an_empty_list_is_no_whole_data_set(prepare_refuses, dtd):
    (dtd / "labels/train1.txt").write_bytes(b"")
    prepare_refuses("dtd/1", dtd, ["dtd/1: train 0 of 1,880", "not the published numbers"])
    prepare_refuses("dtd/1", dtd, "the split train has no image at all", "--allow_partial")


def test_accents_are_compared_byte_by_byte(prepare_refuses, dtd):
    """A file system may write é as two characters; the list says which one it means."""
    (dtd / "images/woven/woven_0.jpg").rename(dtd / "images/woven" / "wovén.jpg")
    (dtd / "labels/train1.txt").write_text(unicodedata.normalize("NFD", "woven/wovén.jpg"))
    prepare_refuses("dtd/1", dtd, "labels/train1.txt:1: images/woven/wove")


def test_link_out_of_the_data_set(prepare_refuses, dtd):
    path = dtd / "images/woven/woven_0.jpg"
    path.unlink()
    path.symlink_to("/etc/hostname")
    prepare_refuses("dtd/1", dtd, "labels/train1.txt:2: images/woven/woven_0.jpg leads out of")


def test_labels(prepare_refuses, tmp_path):
    """FashionAI's letters, CUB's numbers, Tiny-ImageNet's arrays."""
    fashion = tmp_path / "fashion"
    (fashion / "Images").mkdir(parents=True)
    (fashion / "Annotations").mkdir()
    for letters in ("nnnnn", "yynnn", "nnnny ,y", "ynnnnn", "1nnnn", "", "nan"):
        row = f"Images/a.jpg,collar_design_labels,{letters}\n"
        (fashion / "Annotations/label.csv").write_text(row)
        prepare_refuses("fashionai/collar_design", fashion, "Annotations/label.csv:1: ")
    cub = tmp_path / "cub"
    (cub / "images").mkdir(parents=True)
    (cub / "images.txt").write_text("1 001.Crow/a.jpg\n")
    (cub / "train_test_split.txt").write_text("1 1\n")
    for label in ("-1", "1.5", "nan", "one", "¹", ""):
        (cub / "image_class_labels.txt").write_text(f"1 {label}\n")
        prepare_refuses("cub200", cub, "image_class_labels.txt:1: ")


ARRAYS = {
    "names": np.array(["cat", "dog"]),
    **{f"{part}_jpeg": np.zeros(8, np.uint8) for part in ("train", "val")},
    **{f"{part}_offsets": np.array([0, 4, 8]) for part in ("train", "val")},
    **{f"{part}_labels": np.array([0, 1]) for part in ("train", "val")},
}


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("train_labels", np.array([0, 2]), "train_labels: wanted 0 to 1"),
        ("train_labels", np.array([0, -1]), "train_labels: wanted 0 to 1"),
        ("val_labels", np.array([0, np.nan]), "val_labels: float64 of shape (2,); expected a row"),
        ("val_labels", np.array([[0, 1]]), "val_labels: int64 of shape (1, 2); expected a row"),
        ("train_offsets", np.array([0, 4]), "train_offsets: wanted one more than 2 labels"),
        ("train_offsets", np.array([0, 5, 4]), "train_offsets: wanted rising from 0 to at most 8"),
        ("train_offsets", np.array([0, 4, 9]), "train_offsets: wanted rising from 0 to at most 8"),
        ("train_offsets", np.array([-4, 0, 4]), "train_offsets: wanted rising from 0"),
        ("names", np.array([1, 2]), "names: int64 of shape (2,); expected a row of text"),
        ("names", np.array(["cat", "cat"]), "names: 2, of which some are the same"),
        ("names", np.array(["cat", {}]), "names is not readable (Python objects)"),
    ],
)
def test_arrays(prepare_refuses, tmp_path, name, array, says):
    source = tmp_path / "tiny.npz"
    np.savez(source, **(ARRAYS | {name: array}))
    prepare_refuses("tiny_imagenet", source, [str(source), says])


def archive(path, *members):
    """As its name says; members as in archive_files.py."""
    if path.suffix == ".zip":
        return packed_zip(path, *members, compression=zipfile.ZIP_STORED)
    return tar(path, *members, mode="w:gz" if path.suffix == ".tgz" else "w")


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc"}
DEVICE = {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}


@pytest.mark.parametrize(
    ("file", "members", "says"),
    [
        ("a.tar", [("../evil", b"1")], "'../evil' is not a valid file name"),
        ("a.zip", [("../evil", b"1")], "'../evil' is not a valid file name"),
        ("a.tar", [("/tmp/evil", b"1")], "'/tmp/evil' is not a valid file name"),
        ("a.tar", [("link", LINK), ("link/evil", b"1")], "'link': a link or a special file"),
        ("a.tar", [("device", DEVICE)], "'device': a link or a special file"),
        ("a.tgz", [("bomb", bytes(70_000_000))], "'bomb': 70,000,000 bytes out of"),
        ("a.tar", [("A", b"1"), ("A", b"2")], "'A': in the archive twice"),
    ],
)
def test_archives(prepare_refuses, tmp_path, file, members, says):
    path = archive(tmp_path / file, *members)
    prepare_refuses("dtd/1", path, [str(path), says])


def test_archives_with_a_wrong_checksum_or_an_end_too_soon(prepare_refuses, tmp_path):
    path = archive(tmp_path / "a.zip", ("images/a.jpg", b"content"))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"content", b"c0ntent"))
    prepare_refuses("dtd/1", path, [str(path), "broken or cut short (Bad CRC-32 for file"])
    path = archive(tmp_path / "a.tgz", ("images/a.jpg", b"content"))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    prepare_refuses("dtd/1", path, [str(path), "broken or cut short (CRC check failed"])
    path.write_bytes(content[: len(content) // 2])
    prepare_refuses("dtd/1", path, [str(path), "broken or cut short"])

"""Layouts of a person's folder, and each thing that people get wrong about them."""

import os
import sys
import unicodedata
from pathlib import Path

import pytest

from gtn_jax.data.folder import Labeled, read_folder


def lay_out(root: Path, *files: str) -> Path:
    """Empty files: listing opens none."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


PLAIN = ("ant/1.jpg", "ant/2.JPG", "bee/1.png")


def test_class_folders_only(tmp_path):
    listing = read_folder(lay_out(tmp_path, *PLAIN))
    assert listing.classes == ("ant", "bee")
    assert listing.splits == {"train": [("ant/1.jpg", 0), ("ant/2.JPG", 0), ("bee/1.png", 1)]}


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_split_folders(tmp_path, validation):
    files = ("train/b/1.jpg", "train/a/1.jpg", f"{validation}/b/2.jpg", "Test/a/3.jpg")
    listing = read_folder(str(lay_out(tmp_path, *files)))
    assert listing.classes == ("a", "b")
    assert listing.splits == {
        "train": [Labeled("train/a/1.jpg", 0), Labeled("train/b/1.jpg", 1)],
        "validation": [Labeled(f"{validation}/b/2.jpg", 1)],  # no a: labels do not shift
        "test": [Labeled("Test/a/3.jpg", 0)],
    }
    assert list(listing.splits) == ["train", "validation", "test"]


def test_what_is_hidden_foreign_or_nested(tmp_path):
    files = ("ant/2019/may/1.jpg", "ant/.thumb.jpg", ".git/x.jpg", "__MACOSX/ant/1.jpg",
             "ant/notes.txt", "ant/IMG.HEIC", "README", "bee/@eaDir/1.jpg")  # fmt: skip
    listing = read_folder(lay_out(tmp_path, *PLAIN, *files))
    names = [file for file, _ in listing.splits["train"]]
    assert names == ["ant/1.jpg", "ant/2.JPG", "ant/2019/may/1.jpg", "bee/1.png"]
    assert listing.others == {"": 1, ".heic": 1, ".txt": 1}


def test_a_class_called_train(tmp_path):
    listing = read_folder(lay_out(tmp_path, "bus/1.jpg", "train/1.jpg", "car/1.jpg"))
    assert listing.classes == ("bus", "car", "train")


def test_odd_names(tmp_path):
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    files = ("train/my class/a b.jpg", "train/my class/a\nb.jpg", f"train/{apart}/1.jpg",
             f"val/{composed}/1.jpg")  # fmt: skip
    listing = read_folder(lay_out(tmp_path, *files))
    assert listing.classes == (composed, "my class")
    assert ("train/my class/a\nb.jpg", 1) in listing.splits["train"]
    assert listing.splits["validation"] == [(f"val/{composed}/1.jpg", 0)]


WRONG = {
    "empty": ((), "no image in it"),
    "other files": (("ant/1.heic", "ant/2.heic", "bee/1"), r"2 \.heic, 1 without suffix"),
    "images in the root": (("1.jpg", "2.jpg"), r"2 images \(1.jpg, ...\) in no class folder"),
    "one image beside classes": ((*PLAIN, "x.jpg"), r"1 image \(x.jpg\) in no class folder"),
    "one level too deep": (("photos/train/a/1.jpg", "photos/train/b/1.jpg"),
                           "did you mean folder:.*/photos"),
    "classes one level too deep": (("photos/a/1.jpg", "photos/b/1.jpg"),
                                   "did you mean folder:.*/photos"),
    "one class": (("cat/1.jpg",), "one class only, cat"),
    "one class in train": (("train/cat/1.jpg",), "one class only, cat"),
    "splits of other names": (("training_set/cat/1.jpg", "training_set/dog/1.jpg",
                               "test_set/cat/1.jpg", "test_set/dog/1.jpg"),
                              "test_set, training_set all hold the folders cat, dog"),
    "split of another name": (("train/a/1.jpg", "train/b/1.jpg", "tests/a/1.jpg"),
                              "tests/ is not a split"),
    "two for one split": (("train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "valid/a/2.jpg"),
                          "val/ and valid/ both mean validation"),
    "no train": (("val/a/1.jpg", "test/b/1.jpg"), "test/ and val/ but no train/"),
    "train without classes": (("train/1.jpg", "val/2.jpg"),
                              r"train/ holds 1 image \(1.jpg\) in no class"),
    "loose images in train": (("train/a/1.jpg", "train/b/1.jpg", "train/x.jpg"),
                              r"train/ holds 1 image \(x.jpg\)"),
    "empty split": (("train/a/1.jpg", "train/b/1.jpg", "test/a/x.txt"), "test/ holds no image"),
    "empty class": ((*PLAIN, "wasp/x.txt"), "no training image of wasp"),
    "class that only test has": (("train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/c/1.jpg"),
                                 "class c of test/ is none of train/'s"),
    "nested class of val": (("train/a/1.jpg", "train/b/1.jpg", "val/c/d/1.jpg"), "class c of val/"),
    "another case": (("train/Cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg"),
                     r"nearest to cat: Cat"),
    "clash of case": (("Cat/1.jpg", "cat/1.jpg"), "Cat, cat differ in case"),
    "line break in a class": (("a\nb/1.jpg", "c/1.jpg"), r"class a\\nb: control characters"),
    "class of spaces": ((" /1.jpg", "c/1.jpg"), "control characters or nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case, tmp_path):
    files, message = WRONG[case]
    with pytest.raises(ValueError, match=message) as refused:
        read_folder(lay_out(tmp_path, *files))
    assert len(str(refused.value).splitlines()) == 1
    assert str(refused.value).startswith(f"folder {tmp_path}: ")


def test_no_folder(tmp_path):
    with pytest.raises(ValueError, match="give yours, folder:PATH"):
        read_folder("")
    with pytest.raises(ValueError, match="nowhere is not there"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "photos.zip").touch()
    with pytest.raises(ValueError, match="photos.zip is a file; unpack it"):
        read_folder(tmp_path / "photos.zip")


def test_links(tmp_path):
    root = lay_out(tmp_path / "root", *PLAIN)
    lay_out(tmp_path, "outside/secret.jpg")
    (root / "bee/2.jpg").symlink_to("../ant/1.jpg")
    (root / "bee/more").symlink_to("../ant")
    names = [file for file, _ in read_folder(root).splits["train"]]
    assert {"bee/2.jpg", "bee/more/1.jpg", "bee/more/2.JPG"} < set(names)
    (tmp_path / "alias").symlink_to(root)
    assert read_folder(tmp_path / "alias").root == root.resolve()
    for name, target in [
        ("bee/x.jpg", "../../outside/secret.jpg"),
        ("bee/y", "../../outside"),
        ("bee/z.jpg", "/dev/zero"),
        ("bee/gone.jpg", tmp_path / "gone.jpg"),
    ]:
        (root / name).symlink_to(target)
        with pytest.raises(ValueError, match=f"{name}: a link that leaves"):
            read_folder(root)
        (root / name).unlink()


@pytest.mark.parametrize("target", [".", "..", "../bee/loop"])
def test_link_loops_do_not_hang(tmp_path, target):
    root = lay_out(tmp_path, *PLAIN)
    (root / "bee/loop").symlink_to(target)
    with pytest.raises(ValueError, match="bee/loop: a link that leads back"):
        read_folder(root)


def test_long_way_round_does_not_hang(tmp_path):
    root = lay_out(tmp_path, *PLAIN, "bee/deep/1.jpg")
    (root / "ant/away").symlink_to("../bee/deep")
    (root / "bee/deep/back").symlink_to("../../ant")
    with pytest.raises(ValueError, match="a link that leads back"):
        read_folder(root)


@pytest.mark.skipif(sys.platform == "darwin", reason="file names there are valid UTF-8")
def test_names_that_are_no_text(tmp_path):
    root = lay_out(tmp_path, *PLAIN)
    (root / "ant" / os.fsdecode(b"\xff.jpg")).touch()
    assert len(read_folder(root).splits["train"]) == 4
    (root / os.fsdecode(b"\xfe")).mkdir()
    lay_out(root, os.fsdecode(b"\xfe/1.jpg"))
    with pytest.raises(ValueError, match=r"class \\xfe: control characters"):
        read_folder(root)

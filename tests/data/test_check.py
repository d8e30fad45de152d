"""`gtn check-data` on a small folder in which everything is wrong, and on one that is fine."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gtn_jax.cli.main import main
from gtn_jax.config import DataConfig
from gtn_jax.data.check import check_folder, unreadable_files
from gtn_jax.data.sources import open_data
from gtn_jax.data.subsets import choose


def png(seed: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def lay_out(root: Path, files: dict[str, bytes]) -> Path:
    for file, content in files.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


FINE = {
    "train/ant/1.png": png(1),
    "train/ant/2.png": png(2),
    "train/bee/1.png": png(3),
    "train/bee/2.png": png(4),
    "val/bee/1.png": png(5),
}


def test_nothing_wrong(tmp_path, capsys):
    root = lay_out(tmp_path, FINE | {"train/ant/notes.txt": b""})
    assert main(["check-data", str(root)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["class", "train", "validation"] in lines
    assert ["ant", "2", "0"] in lines and ["bee", "2", "1"] in lines and ["all", "4", "1"] in lines
    assert "not read: 1 .txt".split() in lines
    assert lines[-1][1:] == "5 images of 2 classes, nothing wrong".split()


def test_everything_wrong(tmp_path, capsys):
    root = lay_out(
        tmp_path,
        FINE
        | {
            "train/wasp/only.png": png(6),
            "val/ant/leak.png": png(1),
            "train/bee/also an ant.png": png(2),
            "train/bee/again.png": png(3),  # harmless: same class, same split, and there is val/
            "train/ant/empty.jpg": b"",
            "val/bee/half.png": png(7)[:200],
            "val/bee/page.jpg": b"<html>",
        },
    )
    os.mkfifo(root / "train/ant/pipe.jpg")
    (root / "train/ant/gone.jpg").symlink_to("nothing.jpg")
    assert main(["check-data", str(root)]) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    start = lines.index("unreadable: 5")
    assert [line.strip().split(":")[0] for line in lines[start + 1 : start + 6]] == [
        "train/ant/empty.jpg", "train/ant/gone.jpg", "train/ant/pipe.jpg",
        "val/bee/half.png", "val/bee/page.jpg",
    ]  # fmt: skip
    assert "not a regular file" in said.out and "No such file" in said.out
    assert lines[start + 6 :] == [
        "the same bytes more than once: 2",
        "  train/ant/1.png = val/ant/leak.png (train and validation)",
        "  train/ant/2.png = train/bee/also an ant.png (classes ant and bee)",
        "one training image only: wasp",
    ]
    assert "repeated inside a class: 1 files" in lines
    problems = "5 unreadable, 2 more than once, 1 alone in a class"
    assert said.err == f"error: {root}: {problems}; remove or repair them\n"


def test_photographs_of_kinds_that_are_not_read(tmp_path, capsys):
    phone = {f"train/ant/{number}.{kind}": b"" for number in range(3) for kind in ("HEIC", "nef")}
    assert main(["check-data", str(lay_out(tmp_path, FINE | phone))]) == 1
    said = capsys.readouterr()
    assert "not read: 3 .heic (save them as JPEG)" in said.out.splitlines()
    assert said.err == f"error: {tmp_path}: 6 not read (.heic, .nef); remove or repair them\n"


def test_copies_matter_where_training_holds_images_out(tmp_path):
    root = lay_out(tmp_path, {name.removeprefix("train/"): content
                              for name, content in FINE.items() if "train" in name})  # fmt: skip
    assert check_folder(root).problems == ""
    lay_out(root, {"ant/copy.png": png(1)})
    report = check_folder(root)
    assert report.duplicates == (
        (("ant/1.png", "ant/copy.png"), "train, of which validation is a share"),
    )
    assert unreadable_files(report.listing) == {}


def test_split_that_training_will_make(tmp_path, capsys):
    """By hand: a fifth of 10 and of 6 tests, a tenth of the other 8 and 5 validates, at least 1."""
    sizes = {"ant": 10, "bee": 6}
    pictures = {f"{name}/{number}.png": png(100 * count + number)
                for name, count in sizes.items() for number in range(count)}  # fmt: skip
    assert main(["check-data", str(lay_out(tmp_path / "classes", pictures))]) == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert ["class", "train", "validation", "test"] in lines
    assert ["ant", "7", "1", "2"] in lines and ["bee", "4", "1", "1"] in lines
    assert ["all", "11", "2", "3"] in lines
    assert "validation: no folder, so training holds out 10 % of each class's training" in said
    assert "test: no folder, so training holds out 20 % of each class (data.test_fraction)" in said

    # The same that training makes of it.
    data = DataConfig(name=str(tmp_path / "classes"), data_dir=str(tmp_path / "data"))
    parts = choose(open_data(data, say=lambda line: None), data, seed=3)
    made = {name: np.bincount(part.labels).tolist() for name, part in parts.items()}
    assert made == {"train": [7, 4], "validation": [1, 1], "test": [2, 1]}

    # Where test/ is there, validation alone is held out; where val/ is, nothing.
    for folder, expected in (("test", ["9", "1", "1"]), ("val", ["10", "1"])):
        files = {f"train/{name}": content for name, content in pictures.items()}
        root = lay_out(tmp_path / folder, files | {f"{folder}/ant/x.png": png(1)})
        assert main(["check-data", str(root)]) == 0
        said = capsys.readouterr().out
        assert ["ant", *expected] in [line.split() for line in said.splitlines()]
        assert ("validation: no folder" in said) is (folder == "test")
        assert "test: no folder" not in said


@pytest.mark.parametrize(
    ("files", "message"),
    [({}, "no image in it"), ({"train/a/1.png": b"", "val/b/1.png": b""}, "class b of val/")],
)
def test_no_listing_no_check(tmp_path, capsys, files, message):
    assert main(["check-data", str(lay_out(tmp_path, files))]) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1

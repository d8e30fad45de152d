"""The builders of published data sets, on a few lines of their own lists."""

import pytest

from gtn_jax.data.builders.cub200 import Cub200
from gtn_jax.data.builders.fashionai import ATTRIBUTES, Fashionai
from gtn_jax.data.builders.listed import Dtd, Minc2500, Mit67

CUB = {
    "images.txt": "1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg\n"
    "2 001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg\n"
    "11788 200.Common_Yellowthroat/Common_Yellowthroat_0055_190967.jpg\n",
    "image_class_labels.txt": "1 1\n2 1\n11788 200\n",
    "train_test_split.txt": "1 0\n2 1\n11788 0\n",
}
CUB_IMAGES = [line.split(" ")[1] for line in CUB["images.txt"].splitlines()]
FASHION = (
    "Images/coat_length_labels/c76e9ace08d265e63690539736e0d3e1.jpg,coat_length_labels,nynnnnnn\n"
    "Images/collar_design_labels/a.jpg,collar_design_labels,nnymn\n"
    "Images/collar_design_labels/b.jpg,collar_design_labels,ynnnn\n"
    "Images/collar_design_labels/c.jpg,collar_design_labels,mnnny\n"
    "Images/collar_design_labels/d.jpg,collar_design_labels,nynnn\n"
    "Images/collar_design_labels/e.jpg,collar_design_labels,nnnyn\n"
    "Images/collar_design_labels/f.jpg,collar_design_labels,nnnyn\n"
)


def build(kind, source, tmp_path, variant="", allow_partial=True):
    return kind(
        source=source, variant=variant, short_side=8, allow_partial=allow_partial, data_dir=tmp_path
    )


def content(builder):
    return {
        split: [(example.file, example.label) for example in part]
        for split, part in builder.examples().items()
    }


def cub_tree(write_tree, **changed):
    images = {f"CUB_200_2011/images/{name}": None for name in CUB_IMAGES}
    lists = {name: changed.get(name.removesuffix(".txt"), text) for name, text in CUB.items()}
    return write_tree(images | {f"CUB_200_2011/{name}": text for name, text in lists.items()})


def test_cub200(write_tree, tmp_path):
    builder = build(Cub200, cub_tree(write_tree), tmp_path)
    assert builder.classes() == ["001.Black_footed_Albatross", "200.Common_Yellowthroat"]
    # The second image trains (1), the others test (0); class numbers count from 1.
    assert content(builder) == {
        "train": [(f"images/{CUB_IMAGES[1]}", 0)],
        "test": [(f"images/{CUB_IMAGES[0]}", 0), (f"images/{CUB_IMAGES[2]}", 1)],
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "image_class_labels",
            "1 1\n2 2\n11788 200\n",
            r"labels.txt:2: class 2 for the folder 001",
        ),
        ("image_class_labels", "1 1\n2 one\n11788 200\n", r"labels.txt:2: 'one' is not a number"),
        ("image_class_labels", "1 1\n2 1\n", r"images.txt:3: this image is not in image_class"),
        ("image_class_labels", "1 1\n2 1\n3 1\n11788 2", r"labels.txt:3: no such image in images"),
        (
            "train_test_split",
            "1 0\n2 2\n11788 0\n",
            r"train_test_split.txt:2: '2' is neither 0 nor",
        ),
        ("train_test_split", "1 0\n2\n11788 0\n", r"train_test_split.txt:2: '2' is not of the for"),
        (
            "images",
            CUB["images.txt"] + "2 a/b.jpg",
            r"images.txt:4: image 2 stands in images.txt:2",
        ),
        (
            "images",
            f"1 {CUB_IMAGES[0]}\n2 {CUB_IMAGES[0]}\n11788 b/c.jpg",
            r"images.txt:2.*stands in",
        ),
        ("images", "1 a/../../b.jpg\n2 a/c.jpg\n11788 b/c.jpg", r"images.txt:1: .*without '\.\.'"),
        (
            "images",
            "1 /a/b.jpg\n2 a/c.jpg\n11788 b/c.jpg",
            r"images.txt:1: '/a/b.jpg' is not a valid file name",
        ),
    ],
)
def test_cub200_faults_have_a_line(write_tree, tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        build(Cub200, cub_tree(write_tree, **{name: text}), tmp_path, allow_partial=False)


def test_dtd(dtd_tree, tmp_path):
    builder = build(Dtd, dtd_tree, tmp_path, "1")
    assert builder.classes() == ["banded", "zigzagged"]
    assert content(builder) == {
        "train": [("images/banded/banded_0002.jpg", 0), ("images/zigzagged/zigzagged_0002.jpg", 1)],
        "validation": [
            ("images/banded/banded_0004.jpg", 0),
            ("images/zigzagged/zigzagged_0004.jpg", 1),
        ],
        "test": [("images/zigzagged/zigzagged_0005.jpg", 1), ("images/banded/banded_0005.jpg", 0)],
    }


def test_minc2500_lines_start_with_the_folder(write_tree, tmp_path):
    names = ["images/brick/brick_001968.jpg", "images/wood/wood_000001.jpg", "images/sky/s.jpg"]
    files = {f"minc-2500/{name}": None for name in names}
    for part, name in zip(("train", "validate", "test"), names, strict=True):
        files[f"minc-2500/labels/{part}3.txt"] = f"{name}\n"
    builder = build(Minc2500, write_tree(files), tmp_path, "3")
    assert builder.classes() == ["brick", "sky", "wood"]
    assert content(builder) == {
        "train": [(names[0], 0)],
        "validation": [(names[1], 2)],
        "test": [(names[2], 1)],
    }


def test_mit67_names_hold_spaces(write_tree, tmp_path):
    train = ["gameroom/bt_132294gameroom2.jpg", "mall/shopping mall.jpg"]
    test = ["laundromat/laundry room.jpg", "mall/a.jpg"]
    files = {f"Images/{name}": None for name in train + test}
    files |= {"TrainImages.txt": "\n".join(train), "TestImages.txt": "\n".join(test)}
    builder = build(Mit67, write_tree(files), tmp_path)
    assert builder.classes() == ["gameroom", "laundromat", "mall"]
    assert content(builder)["train"][1] == ("Images/mall/shopping mall.jpg", 2)
    assert content(builder)["test"][0] == ("Images/laundromat/laundry room.jpg", 1)


def fashion_tree(write_tree, text=FASHION):
    names = [line.split(",")[0] for line in FASHION.splitlines()]
    return write_tree({f"base/{n}": None for n in names} | {"base/Annotations/label.csv": text})


def test_fashionai_takes_one_attribute_and_cuts_at_four_fifths(write_tree, tmp_path):
    builder = build(Fashionai, fashion_tree(write_tree), tmp_path, "collar_design")
    assert builder.classes()[:2] == ["Invisible", "Shirt Collar"]
    rows = content(builder)
    # Six rows: four train (0.8 of six, rounded down). "m" in nnymn and mnnny does not count.
    assert [(name[-5], label) for name, label in rows["train"]] == [
        ("a", 2),
        ("b", 0),
        ("c", 4),
        ("d", 1),
    ]
    assert [(name[-5], label) for name, label in rows["test"]] == [("e", 3), ("f", 3)]


@pytest.mark.parametrize("letters", ["nnnnn", "yynnn", "nynn", "nyxnn", "mmmmm", "nYnnn"])
def test_fashionai_label_without_one_class(write_tree, tmp_path, letters):
    text = FASHION.replace("mnnny", letters)
    with pytest.raises(
        ValueError, match=r"label.csv:4: '.*' does not label collar_design; expected 5"
    ):
        build(Fashionai, fashion_tree(write_tree, text), tmp_path, "collar_design")


@pytest.mark.parametrize("row", ["image,attribute,label", "Images/a.jpg,coat_length_labels"])
def test_fashionai_row_of_another_form(write_tree, tmp_path, row):
    with pytest.raises(ValueError, match=r"label.csv:1: .* is not of the form FILE,ATTRIBUTE"):
        build(Fashionai, fashion_tree(write_tree, f"{row}\n{FASHION}"), tmp_path, "coat_length")


def test_published_numbers():
    """From the issue and the data sets' pages."""
    assert Cub200.known_counts == {"": {"train": 5994, "test": 5794}}
    assert Mit67.known_counts == {"": {"train": 5360, "test": 1340}}
    assert list(Dtd.known_counts) == list("123456789") + ["10"]
    assert Dtd.known_counts["10"] == {"train": 1880, "validation": 1880, "test": 1880}
    assert list(Minc2500.known_counts) == list("12345")
    assert Minc2500.known_counts["5"] == {"train": 48875, "validation": 2875, "test": 5750}
    sizes = {name: len(values) for name, values in ATTRIBUTES.items()}
    assert sizes == {
        "coat_length": 8,
        "collar_design": 5,
        "lapel_design": 5,
        "neck_design": 5,
        "neckline_design": 10,
        "pant_length": 6,
        "skirt_length": 6,
        "sleeve_length": 9,
    }

"""Split lists: what they may say, and that every complaint names the line."""

import os

import pytest

from gtn_jax.data.builders.lists import find_root, listed_by_class, read_lines

LISTS = {"train": "train.txt", "test": "test.txt"}


def listed(root, allow_partial=False):
    return listed_by_class(root.resolve(), LISTS, "images", allow_partial)


@pytest.fixture
def tree(write_tree):
    def tree(train="a/1.jpg\nb/2.jpg\n", test="a/3.jpg\n"):
        images = {f"images/{name}": None for name in ("a/1.jpg", "b/2.jpg", "a/3.jpg")}
        return write_tree(images | {"train.txt": train, "test.txt": test})

    return tree


def test_ends_of_line_blanks_and_byte_order_mark(write_tree):
    root = write_tree({"l.txt": b"\xef\xbb\xbfa/1.jpg\r\n\r\n  a/name with spaces.jpg \nb/3.jpg"})
    assert read_lines(root, "l.txt") == [
        ("a/1.jpg", "l.txt:1"),
        ("a/name with spaces.jpg", "l.txt:3"),
        ("b/3.jpg", "l.txt:4"),
    ]
    (root / "l.txt").write_bytes(b"a/1.jpg\na/\xff.jpg\n")
    with pytest.raises(ValueError, match=r"l.txt:2: .*not UTF-8"):
        read_lines(root, "l.txt")
    with pytest.raises(ValueError, match=r"other.txt is not there"):
        read_lines(root, "other.txt")


REPEATED = {
    "a/1.jpg\nb/2.jpg\na/1.jpg": "train.txt:3: images/a/1.jpg stands in train.txt:1 already",
    "a/1.jpg\nb/2.jpg\na//./1.jpg": "train.txt:3: images/a/1.jpg stands in train.txt:1 already",
    "a/1.jpg\nb/2.jpg\na/3.jpg": "test.txt:1: images/a/3.jpg stands in train.txt:3 already",
}


@pytest.mark.parametrize("train", REPEATED)
def test_a_path_named_twice_counts_where_it_stands_first(tree, train):
    root = tree(train)
    with pytest.raises(ValueError, match=f"{REPEATED[train]};.* or pass `allow_partial=True`"):
        listed(root)
    listing = listed(root, allow_partial=True)
    assert listing.note == f"1 repeated lines are left out: {REPEATED[train]}"
    files = [example.file for part in listing.examples.values() for example in part]
    assert files == ["images/a/1.jpg", "images/b/2.jpg", "images/a/3.jpg"]


@pytest.mark.parametrize("allow_partial", [False, True])
@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("a/../../x.jpg", r"train.txt:1: .*without '\.\.'"),
        ("/etc/hostname", r"train.txt:1: '/etc/hostname' is not a valid file name"),
        ("a/1\0.jpg", r"train.txt:1: .*NUL"),
        ("1.jpg", r"train.txt:1: '1.jpg' is not of the form CLASS/FILE"),
        ("a/b/1.jpg", r"train.txt:1: 'a/b/1.jpg' is not of the form CLASS/FILE"),
    ],
)
def test_faults_that_no_flag_passes_over(tree, train, message, allow_partial):
    with pytest.raises(ValueError, match=message):
        listed(tree(train), allow_partial)


def test_missing_files(tree):
    root = tree("a/1.jpg\na/4.jpg\nb/2.jpg\nb/5.jpg\n")
    with pytest.raises(ValueError, match=r"train.txt:2: images/a/4.jpg .*1 files more.*allow_p"):
        listed(root)
    listing = listed(root, allow_partial=True)
    assert [example.file for example in listing.examples["train"]] == [
        "images/a/1.jpg",
        "images/b/2.jpg",
    ]
    assert listing.note.startswith("2 of 5 files are missing: train.txt:2")
    (root / "test.txt").write_text("a/3.jpg\na/5.jpg\na/5.jpg\na/5.jpg")
    note = listed(root, allow_partial=True).note
    assert "(and 2 files more); 2 repeated lines are left out: test.txt:3: " in note
    assert note.endswith("already (and 1 lines more)")


@pytest.mark.parametrize("allow_partial", [False, True])
def test_link_that_leads_out(tree, tmp_path, allow_partial):
    root = tree()
    secret = tmp_path / "secret.jpg"
    secret.write_text("secret")
    (root / "images/a/1.jpg").unlink()
    (root / "images/a/1.jpg").symlink_to(secret)
    with pytest.raises(ValueError, match=r"train.txt:1: images/a/1.jpg leads out of .*secret"):
        listed(root, allow_partial)
    # A link that stays inside is a file like others.
    (root / "images/a/1.jpg").unlink()
    (root / "images/a/1.jpg").symlink_to(root / "images/a/3.jpg")
    assert len(listed(root).examples["train"]) == 2


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop"])
def test_special_files_are_not_opened(tree, kind):
    root = tree()
    path = root / "images/a/1.jpg"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with pytest.raises(ValueError, match=r"train.txt:1: images/a/1.jpg"):
        listed(root, allow_partial=True)


def test_root_is_found_below(write_tree):
    root = write_tree({"x/y/dtd/l.txt": "", "x/y/dtd/images/a.jpg": "", "__MACOSX/l.txt": ""})
    assert find_root(root, ("images", "l.txt"), "dtd") == (root / "x/y/dtd").resolve()
    with pytest.raises(ValueError, match=r"dtd: neither .*source nor .* holds images, m.txt"):
        find_root(root, ("images", "m.txt"), "dtd")
    with pytest.raises(ValueError, match=r"dtd: .*a.jpg is not a directory"):
        find_root(root / "x/y/dtd/images/a.jpg", ("images",), "dtd")


def test_two_roots_are_one_too_many(write_tree):
    root = write_tree({"one/l.txt": "", "two/l.txt": ""})
    with pytest.raises(ValueError, match=r"both .*one and .*two hold l.txt"):
        find_root(root, ("l.txt",), "dtd")

"""Where stores lie, which one is taken, and what a killed preparation leaves."""

import fcntl
import threading

import pytest

from gtn_jax.data import stores
from gtn_jax.data.sources import open_splits, prepare


def make(folder):
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")


def test_layout(tmp_path):
    def parent(*arguments):
        return str(stores.parent_folder("/d", *arguments))

    assert parent("dtd/1", "1", 256) == "/d/dtd/1-256px"
    assert parent("cub200", "", 256) == "/d/cub200/256px"
    assert parent("digits", "", None) == "/d/digits"
    assert parent("dtd/1", "1", None) == "/d/dtd/1"


def test_find_and_choose(tmp_path):
    for folder in ("1-256px", "1-320px", "10-128px", "1-64px", "2", "1-512px"):
        make(tmp_path / "dtd" / folder / "1.0.0")
    (tmp_path / "dtd/1-512px/1.0.0/dataset_info.json").unlink()
    make(tmp_path / "dtd/1-128px/incomplete.ABCDEF_1.0.0")
    found = stores.find(str(tmp_path), "dtd/1", "1")
    assert set(found) == {64, 256, 320}
    for wanted, taken in [(256, 256), (64, 64), (65, 256), (300, 320), (None, 320)]:
        store = stores.choose(found, wanted)
        assert store is not None and store.short_side == taken
    assert stores.choose(found, 321) is None
    assert stores.choose({}, None) is None
    # Files as they came have every size, and were resized never.
    plain = stores.find(str(tmp_path), "dtd/2", "2")
    assert set(plain) == {None}
    both = {**found, **plain}
    assert [stores.choose(both, side) for side in (256, 65, None)] == [
        found[256],
        plain[None],
        plain[None],
    ]


def test_too_small_names_what_is_there(tmp_path):
    make(tmp_path / "dtd/1-128px/1.0.0")
    with pytest.raises(ValueError, match=r"short side of 128 pixels only; .*short_side=256\)`"):
        open_splits("dtd/1", str(tmp_path), 256)
    with pytest.raises(ValueError, match=r"'dtd/2' is not in .*`prepare\('dtd/2', source=PATH"):
        open_splits("dtd/2", str(tmp_path), 256)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dtd", r"'dtd' comes in variants; say for example dtd/1 \(known: 1, 2, .*10\)"),
        ("ucf101/11", r"unknown variant of ucf101 '11'; did you mean 1"),
        ("ucf101/Ten", r"unknown variant of ucf101 'Ten'; known: 1, 2, 3$"),
        ("dtd/_", r"'_'; known: 1, 2, 3, .*, 9, 10; lists of your own are .* with a letter$"),
        ("dtd/Ten", r"'dtd/Ten' is (not in|made from files)"),
        ("fashionai/colar_design", r"did you mean collar_design"),
        ("cub200/1", r"cub200 has no variants; say cub200"),
        ("cub", r"unknown data set 'cub'; did you mean cub200"),
    ],
)
def test_names(tmp_path, name, message):
    for use in (open_splits, prepare):
        with pytest.raises(ValueError, match=message):
            use(name, str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("short_side", [0, -1])
def test_short_side_is_checked(tmp_path, short_side):
    with pytest.raises(ValueError, match="short_side: .*at least 1 pixel"):
        prepare("cub200", str(tmp_path / "data"), tmp_path, short_side)


def test_lock_removes_leftovers_and_waits(tmp_path):
    leftover = tmp_path / "incomplete.ABCDEF_1.0.0"
    leftover.mkdir()
    (leftover / "x").write_text("half")
    said: list[str] = []
    with (tmp_path / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=enter, args=(tmp_path, said.append))
        thread.start()
        while not said:
            thread.join(0.01)
        # Another preparation is at work: its folder stays.
        assert leftover.is_dir() and "waiting" in said[0]
    thread.join()
    assert not leftover.exists()


def enter(parent, say):
    with stores.locked(parent, say):
        pass

"""A step whose files are as they were written, and every way in which they are not."""

import hashlib
import json
import os

import pytest

from gtn_jax.runs import manifest

# `printf abc | sha256sum`, and the digest of no bytes: FIPS 180-4's examples.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def step(tmp_path):
    """Step 7, two files."""
    folder = tmp_path / "7"
    (folder / "state/d").mkdir(parents=True)
    (folder / "state/d/abc").write_bytes(b"abc")
    (folder / "empty").touch()
    manifest.seal(folder, 7, 0.25, {"params/kernel": "float32 3x4"})
    return folder


def test_what_it_says(step):
    found = manifest.verify(step)
    assert found == (
        7, 0.25, {"params/kernel": "float32 3x4"},
        {"empty": (0, EMPTY), "state/d/abc": (3, ABC)}, 0.25,
    )  # fmt: skip
    assert found.bytes == 3
    assert manifest.read(step) == found
    written = json.loads((step / "manifest.json").read_text())
    assert written["format"] == 1
    assert written["files"]["state/d/abc"] == {"bytes": 3, "sha256": ABC}


def test_every_byte_counts(step):
    """One bit of each byte of each file, manifest included; 0 silent."""
    flips = 0
    for name in ("manifest.json", "state/d/abc"):
        path = step / name
        whole = path.read_bytes()
        for place in range(len(whole)):
            changed = bytearray(whole)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            with pytest.raises(ValueError, match=f"^{name} has changed on disk"):
                manifest.verify(step)
            flips += 1
        path.write_bytes(whole)
    assert flips > 400
    manifest.verify(step)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda step: (step / "empty").unlink(), "empty is missing"),
        (lambda step: (step / "empty").write_text("x"), "empty is 1 bytes long, 0 were written"),
        (lambda step: (step / "state/d/abc").write_text("ab"), "state/d/abc is 2 bytes long, 3 "),
        (lambda step: (step / "state/new").touch(), "state/new does not belong there"),
        (lambda step: (step / "manifest.json").unlink(), "it has no manifest.json: not saved"),
        (lambda step: (step / "manifest.json").write_text(""), "manifest.json has changed"),
        (lambda step: (step / "manifest.json").write_bytes(b"\xff"), "manifest.json has changed"),
        (lambda step: (step / "manifest.json").write_text("[" * 10**6), "manifest.json has chan"),
        (lambda step: (step / "manifest.json").write_text('{"format": 2}'), "is of format 2, whi"),
        (lambda step: (step / "manifest.json").write_text("{}"), "manifest.json has changed"),
        (lambda step: os.rename(step / "state", step / "stats"), "state/d/abc is missing"),
    ],
)
def test_harm_is_named(step, harm, message):
    harm(step)
    with pytest.raises(ValueError, match=message):
        manifest.verify(step)


def test_links_and_pipes_do_not_count_as_files(step, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"abc")
    abc = step / "state/d/abc"
    abc.unlink()
    abc.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="state/d/abc is not a regular file"):
        manifest.verify(step)
    abc.unlink()
    os.mkfifo(abc)
    with pytest.raises(ValueError, match="state/d/abc is not a regular file"):
        manifest.verify(step)
    abc.unlink()
    abc.write_bytes(b"abc")
    manifest.verify(step)
    (step / "linked").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="linked is a link"):
        manifest.verify(step)


def test_another_steps_folder(step):
    step.rename(step.with_name("8"))
    with pytest.raises(ValueError, match="manifest.json is that of step 7"):
        manifest.verify(step.with_name("8"))


@pytest.mark.parametrize("value", [None, "7", [7], 1e400])
@pytest.mark.parametrize("field", ["step", "accuracy", "arrays", "files"])
def test_what_nobody_wrote_is_refused(step, field, value):
    """Right digests around wrong types: only our own error."""
    tree = json.loads((step / "manifest.json").read_text())
    if (field, value) == ("accuracy", None):
        return
    tree[field] = value
    (step / "manifest.json").write_text(json.dumps(tree, indent=1) + "\n")
    with pytest.raises(ValueError, match="manifest.json has changed"):
        manifest.verify(step)


def seal_by_hand(folder, changes) -> None:
    """A manifest with other values and the right digest of itself around them."""
    tree = json.loads((folder / "manifest.json").read_text()) | changes
    del tree["sha256"]
    digest = hashlib.sha256(json.dumps(tree).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({**tree, "sha256": digest}, indent=1) + "\n")


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "7"},
        {"step": 7.0},
        {"accuracy": "0.25"},
        {"arrays": {"params/kernel": 3}},
        {"files": {"empty": {"bytes": "0", "sha256": EMPTY}}},
        {"files": {"empty": {"bytes": 0, "sha256": 5}}},
    ],
)
def test_right_digests_around_wrong_types(step, changes):
    seal_by_hand(step, changes)
    with pytest.raises(ValueError, match="manifest.json has changed"):
        manifest.read(step)


def test_right_digests_around_right_types(step):
    """So that it is the types that are refused above."""
    seal_by_hand(step, {"accuracy": None, "arrays": {"kernel": "float32"}})
    assert manifest.read(step).arrays == {"kernel": "float32"}

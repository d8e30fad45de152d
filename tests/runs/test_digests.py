"""`digests.json`: what it says, and every way in which it or a file is not as it was written."""

import json
import os

import pytest

from gtn_jax.runs import digests
from gtn_jax.runs.digests import Digest

# `printf abc | sha256sum`: FIPS 180-4's example.
ABC = Digest(3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


@pytest.fixture
def folder(tmp_path):
    """A folder of two files."""
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "other").write_bytes(b"12345")
    names = ("other", "abc")
    digests.write(tmp_path, {name: digests.of_file(tmp_path / name, name) for name in names})
    return tmp_path


def test_what_it_says(folder):
    assert digests.of_bytes(b"abc") == digests.of_file(folder / "abc", "abc") == ABC
    written = json.loads((folder / "digests.json").read_text())
    assert (written["format"], list(written["files"])) == (1, ["abc", "other"])
    assert written["files"]["abc"] == {"bytes": 3, "sha256": ABC.sha256}
    assert digests.read(folder) == {"abc": ABC, "other": digests.of_bytes(b"12345")}
    assert digests.verify(folder) == {"abc": None, "other": None}
    assert digests.read_file(folder / "abc") == (b"abc", True)


def test_what_has_no_digest(folder):
    (folder / "new").write_bytes(b"x")
    assert digests.read_file(folder / "new") == (b"x", False)
    with pytest.raises(FileNotFoundError):
        digests.read_file(folder / "nothing")
    assert digests.read(folder / "nowhere") is None
    assert digests.read(folder / "abc") is None  # no folder
    assert digests.verify(folder / "nowhere") == {}


def test_every_byte_counts(folder):
    """One bit of each byte of each file, its own included."""
    for name in ("abc", "other", "digests.json"):
        path = folder / name
        whole = path.read_bytes()
        for place in range(len(whole)):
            changed = bytearray(whole)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            other = folder / (name if name != "digests.json" else "abc")
            with pytest.raises(ValueError, match=f"^{path} has changed on disk.*from a copy"):
                digests.read_file(other)
        path.write_bytes(whole)
    assert digests.verify(folder) == {"abc": None, "other": None}


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda folder: (folder / "abc").unlink(), "abc is missing"),
        (lambda folder: (folder / "abc").write_text("ab"), "abc is 2 bytes long, 3 were written"),
        (lambda folder: (folder / "abc").write_text("abd"), "abc has changed on disk (its digest "),
        (lambda folder: os.replace(folder / "abc", folder / "abd"), "abc is missing"),
    ],
)
def test_harm_is_named(folder, harm, problem):
    harm(folder)
    found = digests.verify(folder)
    assert found["other"] is None
    assert found["abc"] is not None and found["abc"].startswith(problem)
    with pytest.raises(ValueError) as refused:
        digests.read_file(folder / "abc")
    assert str(refused.value).startswith(f"{folder}/{problem}")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has changed on disk; put it back"),
        (b"\xff", "has changed on disk; put it back"),
        (b"[" * 10**5, "has changed on disk; put it back"),
        (b'{"format": 2}', "is of format 2, which only a newer version can read; "),
        *(
            (digests.sealed({"format": 1, **tree}).encode(), "has changed on disk; put it back")
            for tree in (
                {}, {"files": 5}, {"files": {"abc": 5}}, {"files": {"abc": {"bytes": 3}}},
                {"files": {"abc": {"bytes": "3", "sha256": ABC.sha256}}},
            )
        ),
    ],
)  # fmt: skip
def test_what_nobody_wrote_is_refused(folder, content, reason):
    """Also where its own digest is right."""
    (folder / "digests.json").write_bytes(content)
    for read in (digests.verify, digests.read, lambda folder: digests.read_file(folder / "abc")):
        with pytest.raises(ValueError) as refused:
            read(folder)
        assert str(refused.value).startswith(f"{folder}/digests.json {reason}")
        assert len(str(refused.value).splitlines()) == 1


def test_a_file_that_is_being_replaced_is_read_again(folder, monkeypatch):
    """The digest that was read is that of the file before."""
    read, asked = digests.read, []

    def stale(path):
        asked.append(path)
        known = read(path) or {}
        return known | {"abc": digests.of_bytes(b"old")} if len(asked) == 1 else known

    monkeypatch.setattr(digests, "read", stale)
    assert digests.read_file(folder / "abc") == (b"abc", True)
    assert len(asked) == 3

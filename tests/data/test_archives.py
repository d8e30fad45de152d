"""Archives as attackers and bad lines make them: nothing is ever written outside."""

import contextlib
import stat
import tarfile

import pytest

from gtn_jax.data import archives
from gtn_jax.data.archives import Limits, unpacked
from gtn_jax.data.sources import prepare
from tests.archive_files import packed_zip, tar


@pytest.fixture
def refused(tmp_path):
    """refused(archive, message): the error, and that not a file was left or written elsewhere."""

    def refused(archive, message, limits=None):
        room = tmp_path / "room" / "inside"
        room.mkdir(parents=True, exist_ok=True)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ValueError, match=message) as caught:
            with unpacked(archive, room, limits):
                pass
        assert archive.name in str(caught.value)
        assert len(str(caught.value).splitlines()) <= 3
        assert sorted(tmp_path.rglob("*")) == before

    return refused


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        (".tar", "w"),
        (".tgz", "w:gz"),
        (".tar.gz", "w:gz"),
        (".tar.bz2", "w:bz2"),
        (".tar.xz", "w:xz"),
    ],
)
def test_tar(tmp_path, suffix, mode):
    folder = {"type": tarfile.DIRTYPE}
    long = "a/" * 80 + "b.txt"
    members = [
        ("./", folder),
        ("a", folder),
        ("a/b c.txt", b"hello"),
        (long, b""),
        ("d/e", b"x" * 700),
    ]
    path = tar(tmp_path / f"A{suffix.upper()}", *members, mode=mode)
    assert archives.is_archive(path)
    with unpacked(path, tmp_path) as root:
        assert (root / "a/b c.txt").read_bytes() == b"hello"
        assert (root / long).read_bytes() == b""
        assert (root / "d/e").stat().st_size == 700
        assert root.parent == tmp_path
    assert list(tmp_path.iterdir()) == [path]


def test_zip(tmp_path):
    path = packed_zip(tmp_path / "a.zip", ("a/", b""), ("a/b.txt", b"hello"), ("c", b""))
    with unpacked(path, tmp_path) as root:
        assert (root / "a/b.txt").read_bytes() == b"hello"
        assert sorted(p.name for p in root.iterdir()) == ["a", "c"]
    assert list(tmp_path.iterdir()) == [path]


def test_unpacked_folder_goes_after_an_error_too(tmp_path):
    path = packed_zip(tmp_path / "a.zip", ("a", b"1"))
    with contextlib.suppress(KeyboardInterrupt), unpacked(path, tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [path]


BAD_NAMES = [
    "../evil.txt",
    "../evil",
    "a/../../evil.txt",
    "/tmp/evil-gtn.txt",
    "..\\evil.txt",
    "C:/evil.txt",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_out(tmp_path, refused, name):
    good = ("good.txt", b"1")
    refused(tar(tmp_path / "a.tar", good, (name, b"evil")), "evil")
    refused(packed_zip(tmp_path / "a.zip", good, (name, b"evil")), "evil")
    refused(tar(tmp_path / "b.tar", (name, {"type": tarfile.DIRTYPE})), "evil")


def test_the_folder_above_as_a_member(tmp_path, refused):
    refused(tar(tmp_path / "a.tar", ("..", {"type": tarfile.DIRTYPE})), r"'\.\.'")
    refused(tar(tmp_path / "b.tar", (".", {"type": tarfile.SYMTYPE, "linkname": "/"})), "'.'")


@pytest.mark.parametrize(
    "member",
    [
        {"type": tarfile.SYMTYPE, "linkname": "../.."},
        {"type": tarfile.SYMTYPE, "linkname": "good.txt"},
        {"type": tarfile.LNKTYPE, "linkname": "/etc/hostname"},
        {"type": tarfile.LNKTYPE, "linkname": "good.txt"},
        {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
        {"type": tarfile.BLKTYPE},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.GNUTYPE_SPARSE},
    ],
    ids=lambda member: member["type"].decode(),
)
def test_links_and_devices_in_tar(tmp_path, refused, member):
    path = tar(tmp_path / "a.tar", ("good.txt", b"1"), ("evil", member), ("evil/x", b"2"))
    refused(path, "'evil': a link or a special file|broken or cut short")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_zip(tmp_path, refused, kind):
    path = packed_zip(tmp_path / "a.zip", ("evil", b"/etc", kind | 0o777), ("evil/x", b"2"))
    refused(path, "'evil': a link or a special file")


def test_bombs(tmp_path, refused):
    limits = Limits(free_bytes=1000)
    bomb = b"\0" * 2_000_000
    refused(
        packed_zip(tmp_path / "a.zip", ("b", bomb)), "'b': 2,000,000 bytes out of .*bomb", limits
    )
    path = tar(tmp_path / "a.tgz", ("a", bomb[:500]), ("b", bomb), mode="w:gz")
    refused(path, "'b': 2,000,500 bytes out of .*bomb", limits)


def test_limits(tmp_path, refused):
    members = [(f"{i}", b"12345") for i in range(4)]
    for path in (tar(tmp_path / "a.tar", *members), packed_zip(tmp_path / "a.zip", *members)):
        refused(path, "'3': above the limit of 3 files", Limits(files=3))
        refused(path, "'2': above the limit of 14 bytes", Limits(bytes=14))
        with unpacked(path, tmp_path, Limits(files=4, bytes=20)) as root:
            assert len(list(root.iterdir())) == 4


def test_header_that_would_fill_the_memory(tmp_path, refused):
    member = tarfile.TarInfo("././@PaxHeader")
    member.type, member.size = tarfile.XHDTYPE, 8 * 2**30
    path = tmp_path / "a.tar"
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2000))
    refused(path, "broken or cut short.*a header of 8,589,934,592 bytes")


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz", ".tar.bz2", ".tar.xz"])
def test_cut_short_at_any_place(tmp_path, refused, suffix):
    members = [("a", bytes(range(256)) * 8), ("b", b"x" * 1024)]
    path = tmp_path / f"a{suffix}"
    if suffix == ".zip":
        packed_zip(path, *members)
    else:
        mode = {".tar": "w", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}[suffix]
        tar(path, *members, mode=mode)
    whole = path.read_bytes()
    # A tar ends with padding that nobody needs; up to its end mark every byte counts.
    end = 512 * 9 if suffix == ".tar" else len(whole)
    for size in sorted({0, 1, 100, 512, 2560, end // 2, end - 3} & set(range(end))):
        path.write_bytes(whole[:size])
        refused(path, "broken or cut short")
    path.write_bytes(b"<html>Not found</html>" * 50)
    refused(path, "broken or cut short")


def test_a_directory_that_points_to_before_the_beginning(tmp_path, refused):
    path = packed_zip(tmp_path / "a.zip", ("a", b"1"))
    path.write_bytes(path.read_bytes()[1:])
    refused(path, "broken or cut short")


def test_name_of_no_letters(tmp_path, refused):
    refused(packed_zip(tmp_path / "a.zip", ("", b"1")), "a.zip: '' is not a valid file name")


def test_name_that_no_disk_takes(tmp_path, refused):
    refused(
        packed_zip(tmp_path / "a.zip", ("x" * 300, b"1")), "'xxx.*a name too long for this disk"
    )


def test_damaged_header_is_not_taken_for_the_end(tmp_path, refused):
    path = tar(tmp_path / "a.tar", ("a", b"1"), ("b", b"2"))
    damaged = bytearray(path.read_bytes())
    damaged[1024 + 10] ^= 1
    path.write_bytes(damaged)
    refused(path, "broken or cut short .no end mark")


def test_same_name_twice(tmp_path, refused):
    for members in ([("a", b"1"), ("./a", b"2")], [("a", b"1"), ("a/b", b"2")]):
        refused(tar(tmp_path / "a.tar", *members), "in the archive twice")
        refused(packed_zip(tmp_path / "a.zip", *members), "in the archive twice")


def test_prepare_from_an_archive(tmp_path):
    """Errors of what is inside read as those of a folder; the temporary folder is gone."""
    path = tar(tmp_path / "dtd.tgz", ("dtd/images/a/1.jpg", b""), mode="w:gz")
    said = []
    with pytest.raises(ValueError, match="dtd/1: neither .* holds images, labels/train1.txt"):
        prepare("dtd/1", str(tmp_path / "data"), path, say=said.append)
    assert said == [f"unpacking {path}"]
    assert [p.name for p in (tmp_path / "data/dtd/1-256px").iterdir()] == [".lock"]
    rar = tmp_path / "a.rar"
    rar.write_text("Rar!")
    with pytest.raises(ValueError, match="a.rar is not a directory"):
        prepare("dtd/1", str(tmp_path / "data"), rar)

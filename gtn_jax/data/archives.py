"""An archive from the network -> a temporary folder, or an error before anything gets out of it.

Reads .zip and .tar, plain or packed by gzip, bzip2 or xz. Only regular files and folders are
unpacked, as new files under relative names, within limits; what the archive says about owners,
rights and times is ignored. Does not know what is in the files.
"""

import bz2
import contextlib
import dataclasses
import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import IO, Any

from gtn_jax.data.files import relative_name

SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_CHUNK_BYTES = 1 << 20
_PADDING_BYTES = 16 << 20
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError,
    NotImplementedError, RuntimeError, UnicodeError, OverflowError,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Limits:
    """What an archive may become. Images hardly pack, so a large ratio is a bomb.

    Attributes:
        bytes: of all files together.
        files: files and folders.
        ratio: unpacked size of a file (of a packed .tar: of all so far) over its packed size;
            counts from `free_bytes` on, as lists of names do pack.
        free_bytes: see `ratio`.
    """

    bytes: int = 200 * 2**30
    files: int = 5_000_000
    ratio: float = 100.0
    free_bytes: int = 64 * 2**20


def is_archive(path: Path) -> bool:
    """Whether the name of a file says that this module can unpack it."""
    return path.name.lower().endswith(SUFFIXES)


@contextlib.contextmanager
def unpacked(archive: Path, folder: Path, limits: Limits | None = None) -> Iterator[Path]:
    """Unpack into a temporary folder inside `folder`; it is removed afterwards, whatever happens.

    Args:
        archive: a file for which `is_archive`.
        folder: an existing folder on a disk with room.
        limits: default: `Limits()`.

    Yields:
        The temporary folder.

    Raises:
        ValueError: broken, cut short, above the limits, or with a member that is a link, a
            device or named so that it would lead out; names archive and member.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="incomplete.unpacked-", dir=folder) as temporary:
        root = Path(temporary)
        unpack = _unpack_zip if archive.name.lower().endswith(".zip") else _unpack_tar
        try:
            unpack(archive, _Writer(archive, root, limits))
        except (*_BROKEN, OSError) as error:
            # gzip and bz2 say OSError of broken data, without a number; a full disk has one.
            # EINVAL: zipfile was told to seek to before the beginning.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise
            reason = str(error) or type(error).__name__
            raise ValueError(f"{archive}: broken or cut short ({reason}); fetch it anew") from error
        yield root


class _Writer:
    """Writes members under `root` as long as they keep within the limits."""

    def __init__(self, archive: Path, root: Path, limits: Limits):
        self.archive, self.root, self._limits = archive, root, limits
        self._room = shutil.disk_usage(root).free
        self.bytes, self._members = 0, 0

    def refuse(self, member: str, reason: str) -> ValueError:
        return ValueError(f"{self.archive}: {member!r}: {reason}")

    def admit(self, member: str, size: int) -> Path:
        """Where a member goes, of so many bytes as it says itself."""
        self._members += 1
        if self._members > self._limits.files:
            raise self.refuse(member, f"above the limit of {self._limits.files:,} files")
        if self.bytes + size > self._limits.bytes:
            raise self.refuse(member, f"above the limit of {self._limits.bytes:,} bytes unpacked")
        if self.bytes + size > self._room:
            raise self.refuse(member, f"the disk has room for {self._room:,} bytes only")
        if PureWindowsPath(member).drive or "\\" in member:
            raise self.refuse(member, "a name of another system; it could lead out of the folder")
        return self.root / relative_name(member, str(self.archive))

    def check_ratio(self, member: str, size: int, packed: int) -> None:
        limits = self._limits
        if size > limits.free_bytes and size > limits.ratio * max(packed, 1):
            raise self.refuse(member, f"{size:,} bytes out of {packed:,}; this looks like a bomb")

    def make_folder(self, member: str) -> None:
        with self.clash(member):
            self.admit(member, 0).mkdir(parents=True, exist_ok=True)

    def write(self, member: str, size: int, source: IO[bytes]) -> None:
        """Copy exactly `size` bytes into a new file."""
        path = self.admit(member, size)
        with self.clash(member):
            path.parent.mkdir(parents=True, exist_ok=True)
            target = path.open("xb")
        with target:
            left = size
            while left:
                chunk = source.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise EOFError(f"{member!r} ends {left:,} bytes early")
                target.write(chunk)
                left -= len(chunk)
            if source.read(1):
                raise self.refuse(member, "longer than it says; this looks like a bomb")
        self.bytes += size

    @contextlib.contextmanager
    def clash(self, member: str) -> Iterator[None]:
        """Turn what the disk says of a name that cannot be into our sentence."""
        try:
            yield
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise self.refuse(member, "in the archive twice, or as file and as folder") from error
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise self.refuse(member[:80], "a name too long for this disk") from error


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    packed = archive.stat().st_size
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name, mode = member.filename, member.external_attr >> 16
            relative_name(name, str(archive))
            # Zip tools that know no Unix rights leave the kind of file empty.
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise writer.refuse(name, "a link or a special file; only files are unpacked")
            if member.is_dir():
                writer.make_folder(name)
                continue
            if member.flag_bits & 1:
                raise writer.refuse(name, "encrypted; unpack it yourself")
            writer.check_ratio(name, member.file_size, member.compress_size)
            writer.check_ratio(name, writer.bytes + member.file_size, packed)
            with opened.open(member) as source:
                writer.write(name, member.file_size, source)


def _unpack_tar(archive: Path, writer: _Writer) -> None:
    packed = archive.stat().st_size
    with archive.open("rb") as file, _decompressed(archive, file) as stream:
        watched: Any = _Watched(stream)
        opened: Any = tarfile.open(fileobj=watched, mode="r:")
        for member in opened:
            if member.isdir() and member.name in (".", "./"):
                continue  # the folder itself
            _check_member(member, writer)
            if member.isdir():
                writer.make_folder(member.name)
                continue
            writer.check_ratio(member.name, writer.bytes + member.size, packed)
            source = opened.extractfile(member)
            assert source is not None
            writer.write(member.name, member.size, source)
            opened.members.clear()  # tarfile would remember millions of them
        # tarfile takes a broken header for the end; the true one is a block of zeros.
        if watched.last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end mark")
        # What follows is padding; gzip and xz keep their check sums behind it.
        for _ in range(_PADDING_BYTES // _CHUNK_BYTES):
            if not watched.read(_CHUNK_BYTES):
                break


class _Watched:
    """A stream for tarfile that remembers its last block and refuses to fill the memory."""

    def __init__(self, stream: IO[bytes]):
        self._stream, self.last = stream, b""
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        # A header may say that its extension is gigabytes long; tarfile would read it at once.
        if size > _CHUNK_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last = self._stream.read(size)
        return self.last


def _check_member(member: tarfile.TarInfo, writer: _Writer) -> None:
    relative_name(member.name, str(writer.archive))
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise writer.refuse(member.name, "a link or a special file; only files are unpacked")
    if hasattr(tarfile, "data_filter"):
        # Python's own opinion, on top: https://docs.python.org/3/library/tarfile.html
        with writer.clash(member.name):  # since Python 3.13 it looks at the disk
            tarfile.data_filter(member, str(writer.root))


def _decompressed(archive: Path, file: IO[bytes]) -> Any:
    name = archive.name.lower()
    if name.endswith((".tgz", ".gz")):
        return gzip.GzipFile(fileobj=file)
    if name.endswith(".bz2"):
        return bz2.BZ2File(file)
    if name.endswith(".xz"):
        return lzma.LZMAFile(file)
    return contextlib.nullcontext(file)

"""Names of files that someone else wrote down -> files that are safe to read.

Lists and archives come from the network: a name in them must mean a regular file below the root
that the user pointed to. Does not parse lists (builders/lists.py) or unpack (archives.py).
"""

import os
import stat
from pathlib import Path, PurePosixPath


def relative_name(name: str, where: str) -> str:
    """A name as it is written in a list -> the same in normal form ("a//./b" is "a/b").

    Args:
        name: with forward slashes.
        where: what to call the place it stands in, for the error, e.g. "train.txt:17".

    Raises:
        ValueError: absolute, with "..", with a NUL, or empty.
    """
    pure = PurePosixPath(name)
    if "\0" in name or pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError(
            f"{where}: {name!r} is not a valid file name; expected a relative one, "
            "without '..' and NUL"
        )
    return str(pure)


def regular_file(root: Path, name: str, where: str) -> Path | None:
    """The file that a name means below `root`, or None where nothing is there.

    Args:
        root: a real path (`Path.resolve`).
        name: from `relative_name`.
        where: the place it stands in, for the error.

    Raises:
        ValueError: a symbolic link leads out of `root`, or the name means a folder, a pipe or a
            device. Such a file is not opened.
    """
    real = os.path.realpath(root / name)
    if not Path(real).is_relative_to(root):
        raise ValueError(f"{where}: {name} leads out of {root}, to {real}; copy the file into it")
    try:
        mode = os.stat(real).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ValueError(f"{where}: {name} cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise ValueError(f"{where}: {name} is not a regular file; put an image there")
    return Path(real)


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file; never waits for a pipe.

    Raises:
        ValueError: it is a folder, a pipe or a device.
        OSError: it cannot be opened.
    """
    # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is not a regular file; put an image there")
        return file.read()

"""Split lists, as the authors of data sets publish them -> files with labels.

A list is a text file that names an image a line. Every complaint says in which line. Whether a
file holds an image is not looked at here: encode.py does, when it is read.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gtn_jax.data.builders.base import Example
from gtn_jax.data.files import read_regular, regular_file, relative_name

_LEVELS = 3


class Line(NamedTuple):
    """One line of a list.

    Attributes:
        text: without blanks at its ends.
        where: "LIST:NUMBER", the list as seen from the root.
    """

    text: str
    where: str


def find_root(source: Path | None, markers: tuple[str, ...], what: str) -> Path:
    """The folder that holds all of `markers`: `source` or one up to three levels below.

    Archives wrap their files in a folder or two, whose names differ between mirrors.

    Raises:
        ValueError: there is none, or there are several of the same depth.
    """
    if source is None or not source.is_dir():
        raise ValueError(
            f"{what}: {source} is not a directory; bring the unpacked data set or its archive"
        )
    level = [source.resolve()]
    for _ in range(_LEVELS + 1):
        found = [path for path in level if all((path / marker).exists() for marker in markers)]
        if len(found) > 1:
            raise ValueError(
                f"{what}: both {found[0]} and {found[1]} hold {markers[0]}; name one of them "
                "as the source"
            )
        if found:
            return found[0]
        level = sorted(child for path in level for child in path.iterdir() if _is_folder(child))
    raise ValueError(
        f"{what}: neither {source} nor a folder up to {_LEVELS} levels below it holds "
        f"{', '.join(markers)} together"
    )


def _is_folder(path: Path) -> bool:
    # "__MACOSX" holds a shadow of every file of an archive that was made on a Mac.
    is_hidden = path.name.startswith(".") or path.name == "__MACOSX"
    return not is_hidden and not path.is_symlink() and path.is_dir()


def read_lines(root: Path, name: str) -> list[Line]:
    """The lines of a list that are not empty; ends of line may be Windows'.

    Args:
        root: from `find_root`.
        name: of the list, as seen from there.

    Raises:
        ValueError: it is not there, or a line is not UTF-8.
    """
    path = regular_file(root, name, name)
    if path is None:
        raise ValueError(f"{root / name} is not there; the data set has to come with its lists")
    lines = []
    for number, encoded in enumerate(read_regular(path).removeprefix(b"\xef\xbb\xbf").split(b"\n")):
        where = f"{name}:{number + 1}"
        try:
            text = encoded.decode().strip()
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: {encoded[:80]!r} is not UTF-8 text") from error
        if text:
            lines.append(Line(text, where))
    return lines


class FileList:
    """The files that lists have named so far, each of them once."""

    def __init__(self, root: Path, allow_partial: bool):
        """`root` is the folder that names start from; `allow_partial` goes on over what is wrong.

        Of a file that is named more than once, the first mention counts then.
        """
        self._root, self._allow_partial = root, allow_partial
        self._where: dict[str, str] = {}
        self._missing: list[str] = []
        self._repeated: list[str] = []

    def add(self, name: str, where: str) -> tuple[str, Path | None]:
        """Look a file up.

        Args:
            name: as it stands in the list.
            where: the list and the line.

        Returns:
            The name in normal form, and the file, or None where it is missing or was named before.

        Raises:
            ValueError: named before, in this list or another, and that is not allowed; or not a
                safe name of a regular file below the root.
        """
        normal = relative_name(name, where)
        if normal in self._where:
            repeated = f"{where}: {normal} stands in {self._where[normal]} already"
            if not self._allow_partial:
                raise ValueError(
                    f"{repeated}; every file belongs to one split, once: remove one of the lines, "
                    "or pass `allow_partial=True`"
                )
            self._repeated.append(repeated)
            return normal, None
        self._where[normal] = where
        path = regular_file(self._root, normal, where)
        if path is None:
            self._missing.append(f"{where}: {normal} is not in {self._root}")
        return normal, path

    def finish(self) -> str:
        """What to tell about missing files and repeated lines: a line, or "" if there are none.

        Raises:
            ValueError: files are missing that may not.
        """
        parts = []
        if self._missing:
            first = _first(self._missing, "files")
            if not self._allow_partial:
                raise ValueError(f"{first}; complete the data set, or pass `allow_partial=True`")
            parts += [f"{len(self._missing):,} of {len(self._where):,} files are missing: {first}"]
        if self._repeated:
            first = _first(self._repeated, "lines")
            parts += [f"{len(self._repeated):,} repeated lines are left out: {first}"]
        return "; ".join(parts)


def _first(found: list[str], what: str) -> str:
    more = len(found) - 1
    return found[0] + (f" (and {more:,} {what} more)" if more else "")


class Listing(NamedTuple):
    """What the lists of a data set say together.

    Attributes:
        classes: names in label order.
        examples: split -> its examples, in the order of the list.
        note: from `FileList.finish`.
    """

    classes: list[str]
    examples: dict[str, list[Example]]
    note: str


def listed_by_class(
    root: Path,
    lists: Mapping[str, str],
    folder: str,
    allow_partial: bool,
    starts_with_folder: bool = False,
) -> Listing:
    """Read lists whose lines are CLASS/FILE.

    Args:
        root: from `find_root`.
        lists: split -> its list, as seen from `root`.
        folder: where the classes' folders are, as seen from `root`.
        allow_partial: pass over files that are missing and lines that repeat one.
        starts_with_folder: lines are FOLDER/CLASS/FILE.

    Returns:
        Classes are the sorted names in the lists.

    Raises:
        ValueError: as `FileList`, and for a line of another form.
    """
    files = FileList(root, allow_partial)
    named = {
        split: _classified(root, name, folder, starts_with_folder) for split, name in lists.items()
    }
    classes = sorted({kind for rows in named.values() for kind, _, _ in rows})
    labels = {kind: label for label, kind in enumerate(classes)}
    examples: dict[str, list[Example]] = {}
    for split, rows in named.items():
        found = [(kind, *files.add(name, where)) for kind, name, where in rows]
        examples[split] = [Example(name, path, labels[kind]) for kind, name, path in found if path]
    return Listing(classes, examples, files.finish())


def _classified(
    root: Path, name: str, folder: str, starts_with_folder: bool
) -> list[tuple[str, str, str]]:
    """(class, file as seen from the root, where) of every line."""
    rows = []
    for text, where in read_lines(root, name):
        full = text if starts_with_folder else f"{folder}/{text}"
        # The name as written: one that begins with "/" must not look relative.
        parts = PurePosixPath(relative_name(full if text[0] != "/" else text, where)).parts
        if len(parts) != 3 or parts[0] != folder:
            wanted = f"{folder}/CLASS/FILE" if starts_with_folder else "CLASS/FILE"
            raise ValueError(f"{where}: {text!r} is not of the form {wanted}")
        rows.append((parts[1], full, where))
    return rows

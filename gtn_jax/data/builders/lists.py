"""Parsing of published split lists: text files with one image per line.

Errors name the list and the line. Files are decoded later, by encode.py.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gtn_jax.data.builders.base import Example
from gtn_jax.data.files import read_regular, regular_file, relative_name

_LEVELS = 3


class Line(NamedTuple):
    """One line of a list."""

    text: str  # stripped
    where: str  # "LIST:NUMBER", the list relative to the root


def find_root(source: Path | None, markers: tuple[str, ...], what: str) -> Path:
    """The directory that holds all of `markers`: `source` or one up to three levels below.

    Archives wrap their files in a directory or two, whose names differ between mirrors. ValueError
    if there is none, or several at the same depth.
    """
    if source is None or not source.is_dir():
        raise ValueError(
            f"{what}: {source} is not a directory; bring the unpacked data set or its archive"
        )
    level = [source.resolve()]
    for _ in range(_LEVELS + 1):
        roots = [path for path in level if all((path / marker).exists() for marker in markers)]
        if len(roots) > 1:
            raise ValueError(
                f"{what}: both {roots[0]} and {roots[1]} hold {markers[0]}; name one of them "
                "as the source"
            )
        if roots:
            return roots[0]
        level = sorted(child for path in level for child in path.iterdir() if _is_folder(child))
    raise ValueError(
        f"{what}: neither {source} nor a folder up to {_LEVELS} levels below it holds "
        f"{', '.join(markers)} together"
    )


def _is_folder(path: Path) -> bool:
    # In archives made on a Mac, "__MACOSX" holds a metadata file for every file.
    is_hidden = path.name.startswith(".") or path.name == "__MACOSX"
    return not is_hidden and not path.is_symlink() and path.is_dir()


def read_lines(root: Path, name: str) -> list[Line]:
    """The nonempty lines of `root / name`, with Unix or Windows line endings; ValueError if the
    list does not exist or is not UTF-8."""
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
    """The files named by the lists of a data set, each allowed once."""

    def __init__(self, root: Path, allow_partial: bool):
        """`allow_partial` skips missing files and all but the first mention of a file."""
        self._root, self._allow_partial = root, allow_partial
        self._where: dict[str, str] = {}
        self._missing: list[str] = []
        self._repeated: list[str] = []

    def add(self, name: str, where: str) -> tuple[str, Path | None]:
        """Look up a file named in a list at `where`.

        Returns:
            The normalized name, and the file; None if it is missing or a repetition.

        Raises:
            ValueError: a repetition, without `allow_partial`; or not a safe name of a regular file
                below the root.
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
        """One line about missing files and repeated lines, "" if there are none; ValueError if
        files are missing without `allow_partial`."""
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


def _first(entries: list[str], what: str) -> str:
    more = len(entries) - 1
    return entries[0] + (f" (and {more:,} {what} more)" if more else "")


class Listing(NamedTuple):
    """The content of a data set's lists."""

    classes: list[str]  # names in label order
    examples: dict[str, list[Example]]  # by split, in the order of the list
    note: str  # from `FileList.finish`


def listed_by_class(
    root: Path,
    lists: Mapping[str, str],
    folder: str,
    allow_partial: bool,
    starts_with_folder: bool = False,
) -> Listing:
    """Read lists (split -> path) with lines CLASS/FILE, or with `starts_with_folder`
    FOLDER/CLASS/FILE.

    `folder` is the parent of the class directories. All paths are relative to `root` (`find_root`);
    classes are the sorted names in the lists.

    Raises:
        ValueError: a line of another form, and as `FileList`.
    """
    files = FileList(root, allow_partial)
    rows_of = {
        split: _classified(root, name, folder, starts_with_folder) for split, name in lists.items()
    }
    classes = sorted({kind for rows in rows_of.values() for kind, _, _ in rows})
    labels = {kind: label for label, kind in enumerate(classes)}
    examples: dict[str, list[Example]] = {}
    for split, rows in rows_of.items():
        checked = [(kind, *files.add(name, where)) for kind, name, where in rows]
        examples[split] = [
            Example(name, path, labels[kind]) for kind, name, path in checked if path
        ]
    return Listing(classes, examples, files.finish())


def _classified(
    root: Path, name: str, folder: str, starts_with_folder: bool
) -> list[tuple[str, str, str]]:
    """(class, file relative to the root, where) of every line."""
    rows = []
    for text, where in read_lines(root, name):
        full = text if starts_with_folder else f"{folder}/{text}"
        # A name that begins with "/" is checked as written, not made relative by `folder`.
        parts = PurePosixPath(relative_name(full if text[0] != "/" else text, where)).parts
        if len(parts) != 3 or parts[0] != folder:
            wanted = f"{folder}/CLASS/FILE" if starts_with_folder else "CLASS/FILE"
            raise ValueError(f"{where}: {text!r} is not of the form {wanted}")
        rows.append((parts[1], full, where))
    return rows

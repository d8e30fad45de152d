"""UCF101: 13,320 clips of 101 human actions, three official splits into train and test.

https://www.crcv.ucf.edu/data/UCF101.php; research use. The source is a folder with the clips, as
`CLIP.avi` or as frames `CLIP/image_0001.jpg` (`img_`, `frame` and .png do too), at any depth, and
with classInd.txt, trainlist01.txt, testlist01.txt, ... in it, in its `ucfTrainTestlist/` or in one
beside it. Of every clip 25 evenly spaced frames are stored (data/video.py says which), under the
name CLASS/CLIP/image_0001, counted from 1: the clip is the file's folder.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gtn_jax.data.builders.base import ImageClassificationBuilder
from gtn_jax.data.builders.encode import Example
from gtn_jax.data.builders.lists import read_lines
from gtn_jax.data.threads import ordered_map
from gtn_jax.data.video import frame_positions, read_frames

_LISTS = {"train": "trainlist0{}.txt", "test": "testlist0{}.txt"}
_FRAME = re.compile(r"(?:image_|img_|frame_?)(\d+)\.(?:jpe?g|png)", re.IGNORECASE)


class Clip(NamedTuple):
    """One line of a list.

    Attributes:
        name: CLASS/CLIP, as the list spells it.
        label: index into the classes.
        where: file and line, for errors.
        content: its .avi file or the folder of its frames.
    """

    name: str
    label: int
    where: str
    content: Path


class Ucf101(ImageClassificationBuilder):
    """A hundred and one classes; train and test of split 1, 2 or 3. Needs `source` to prepare."""

    encoding = "png"
    description = "UCF101, 25 evenly spaced frames of every clip."
    homepage = "https://www.crcv.ucf.edu/data/UCF101.php"
    variants = ("1", "2", "3")
    unit = "clips"
    known_counts = {
        "1": {"train": 9537, "test": 3783},
        "2": {"train": 9586, "test": 3734},
        "3": {"train": 9624, "test": 3696},
    }
    """Variant -> split -> clips, not frames."""

    def classes(self) -> list[str]:
        """The 101 names of classInd.txt."""
        return read_classes(find_lists(self.source, self.variant, self.origin)["classes"])

    def examples(self) -> dict[str, "Frames"]:
        """`train` and `test`: lists are read and checked here, videos as the examples are taken."""
        clips, note = read_clips(self.source, self.variant, self.allow_partial, self.origin)
        self.say_note(note)
        return {split: Frames(part) for split, part in clips.items()}

    def counts(self, splits: Mapping[str, Iterable[Example]]) -> dict[str, int]:
        """Clips of each split; their frames are not known before they are decoded."""
        return {
            split: len(part.clips) for split, part in splits.items() if isinstance(part, Frames)
        }


class Frames:
    """The stored frames of clips as examples, in order; decoded as they are taken.

    A video that cannot be read gives one example that holds the error.
    """

    def __init__(self, clips: list[Clip]):
        """`clips` is one split's part of `read_clips`."""
        self.clips = clips

    def __iter__(self) -> Iterator[Example]:
        """Several clips are decoded at a time; 25 frames of 320x240 are 6 MB."""
        for examples in ordered_map(_frames, self.clips):
            yield from examples


def find_lists(source: Path | None, variant: str, origin: Path | None = None) -> dict[str, Path]:
    """ "classes", "train" and "test" -> their list files.

    Args:
        source: as the module says.
        variant: "1", "2" or "3".
        origin: what the user named, `source` by default; the lists may lie beside this archive.

    Raises:
        ValueError: no folder, or a list that is not there.
    """
    if source is None or not source.is_dir():
        if source is not None and source.suffix.lower() == ".rar":
            raise ValueError(
                f"ucf101: {source} is not unpacked here; unpack it (unrar x {source.name}) and "
                "give the folder, `source=FOLDER`"
            )
        raise ValueError(
            f"ucf101: {source} is not a folder; give the one with the clips: `source=FOLDER`"
        )
    names = {"classes": "classInd.txt"}
    names |= {split: name.format(variant) for split, name in _LISTS.items()}
    origin = source if origin is None else origin
    folders = (source, source / "ucfTrainTestlist", origin.absolute().parent / "ucfTrainTestlist")
    found = {}
    for key, name in names.items():
        existing = [folder / name for folder in folders if (folder / name).is_file()]
        if not existing:
            raise ValueError(
                f"ucf101: no {name} in {origin}, in its ucfTrainTestlist nor in one beside it; the "
                "lists are UCF101TrainTestSplits-RecognitionTask.zip, unpacked"
            )
        found[key] = existing[0]
    return found


def read_classes(path: Path) -> list[str]:
    """Class names in the order of classInd.txt, whose lines are "NUMBER NAME".

    Raises:
        ValueError: numbers that do not count from 1, or a name that comes twice; names the line.
    """
    names: list[str] = []
    for line, where in read_lines(path.parent.resolve(), path.name):
        first, _, name = line.partition(" ")
        if first != str(len(names) + 1) or not name:
            raise ValueError(f"{where}: {line!r}, expected '{len(names) + 1} CLASS'")
        if name in names:
            raise ValueError(f"{where}: class {name} is there twice; remove one")
        names.append(name)
    return names


def read_clips(
    source: Path | None, variant: str, allow_partial: bool = False, origin: Path | None = None
) -> tuple[dict[str, list[Clip]], str]:
    """The clips of both lists, checked against the classes, each other and the files.

    Args:
        source: as the module says.
        variant: "1", "2" or "3".
        allow_partial: leave clips out that are missing or were there before.
        origin: as for `find_lists`.

    Returns:
        Split -> clips in the order of the list; a line about what was left out, or "".

    Raises:
        ValueError: a line that cannot be right, or a clip that is missing, there twice or in both
            lists; with file and line of the first, and how many more.
    """
    lists = find_lists(source, variant, origin)
    classes = read_classes(lists["classes"])
    assert source is not None
    contents = find_contents(source)
    seen: dict[str, str] = {}
    problems: list[str] = []
    splits: dict[str, list[Clip]] = {}
    for split in _LISTS:
        splits[split] = []
        for name, label, where in read_list(lists[split], classes):
            clip = name.rpartition("/")[2].casefold()
            earlier = seen.setdefault(clip, where)
            if earlier != where:
                problems.append(f"{where}: {name} is at {earlier} already")
            elif clip not in contents:
                problems.append(f"{where}: no {name}.avi in {source}, and no folder of its frames")
            else:
                splits[split].append(Clip(name, label, where, contents[clip]))
    if not problems:
        return splits, ""
    if not allow_partial:
        more = f" (and {len(problems) - 1:,} more such lines)" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0]}{more}\nadd what lacks, or pass `allow_partial=True`")
    return splits, f"{len(problems):,} lines of the lists are left out: {problems[0]}, ..."


def read_list(path: Path, classes: list[str]) -> Iterator[tuple[str, int, str]]:
    """(CLASS/CLIP, label, file and line) of each line "CLASS/CLIP.avi" or "CLASS/CLIP.avi NUMBER".

    Raises:
        ValueError: another form, an unknown class, or a number that is not the class's.
    """
    # Copies differ in the case of HandstandPushups / HandStandPushups.
    labels = {name.casefold(): label for label, name in enumerate(classes)}
    for line, where in read_lines(path.parent.resolve(), path.name):
        form = re.fullmatch(r"([^/\s]+)/([^/\s]+)\.avi(?:\s+(\d+))?", line)
        if form is None:
            raise ValueError(f"{where}: {line!r}, expected CLASS/CLIP.avi, or that and a number")
        name, clip, stated = form.groups()
        label = labels.get(name.casefold())
        if label is None:
            raise ValueError(f"{where}: class {name!r} is not in classInd.txt")
        if stated is not None and int(stated) != label + 1:
            raise ValueError(
                f"{where}: class {stated}, but {name} is number {label + 1} in classInd.txt"
            )
        yield f"{classes[label]}/{clip}", label, where


def find_contents(source: Path) -> dict[str, Path]:
    """Clip name in lower case -> its .avi file, or else the folder of its frames.

    Links to folders are not followed.

    Raises:
        ValueError: two files, or two folders, of one clip; or a video or frame that is a link to
            a file outside of `source`.
    """
    videos: dict[str, Path] = {}
    folders: dict[str, Path] = {}
    for folder, inner, files in os.walk(source):
        inner.sort()
        found = [(videos, Path(folder, file)) for file in files if file.lower().endswith(".avi")]
        if any(_FRAME.fullmatch(file) for file in files):
            found.append((folders, Path(folder)))
        for table, path in found:
            clip = (path.stem if table is videos else path.name).casefold()
            if clip in table:
                raise ValueError(f"{path}: {table[clip]} has the same name; remove one of the two")
            if table is videos:
                _check_inside(path, source)
            else:
                _check_frames_inside(path, source)
            table[clip] = path
    return folders | videos


def _check_frames_inside(folder: Path, source: Path) -> None:
    # Before any work: a scan of a folder tells links without a look at every file.
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and _FRAME.fullmatch(entry.name):
                _check_inside(Path(entry.path), source)


def _check_inside(path: Path, source: Path) -> None:
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(source.resolve()):
        raise ValueError(f"{path}: a link that leads out of {source}; copy the file")


def _frames(clip: Clip) -> list[Example]:
    if clip.content.is_dir():
        stored = _frame_files(clip.content)
        chosen = [stored[position] for position in frame_positions(len(stored))]
        return [Example(f"{clip.name}/image_{n:04d}", path, clip.label) for n, path in chosen]
    try:
        frames = read_frames(clip.content)
    except ValueError as error:
        return [Example(f"{clip.name}/image_0001", error, clip.label)]
    return [Example(f"{clip.name}/image_{n + 1:04d}", pixels, clip.label) for n, pixels in frames]


def _frame_files(folder: Path) -> list[tuple[int, Path]]:
    """(number in its name, file) of each frame, in the order of the numbers."""
    forms = ((_FRAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(form[1]), path) for form, path in forms if form)

"""UCF101: 13,320 clips of 101 human actions, three official splits into train and test.

https://www.crcv.ucf.edu/data/UCF101.php; research use. The source is a directory with the clips at
any depth, as `CLIP.avi` or as frames `CLIP/image_0001.jpg` (also `img_`, `frame` and .png), and
with classInd.txt, trainlist01.txt, testlist01.txt, ... in it, in its `ucfTrainTestlist/` or in one
beside it. 25 evenly spaced frames of every clip are stored (data/video.py), named
CLASS/CLIP/image_0001 and counted from 1.
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
    """One line of a list."""

    name: str  # CLASS/CLIP, as the list spells it
    label: int
    where: str  # file and line, for errors
    content: Path  # the .avi file or the directory of frames


class Ucf101(ImageClassificationBuilder):
    """101 classes; train and test of split 1, 2 or 3."""

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

    def classes(self) -> list[str]:
        """Names in classInd.txt."""
        return read_classes(find_lists(self.source, self.variant, self.origin)["classes"])

    def examples(self) -> dict[str, "Frames"]:
        """Split -> frames: lists are checked here, videos are decoded on iteration."""
        clips, note = read_clips(self.source, self.variant, self.allow_partial, self.origin)
        self.say_note(note)
        return {split: Frames(part) for split, part in clips.items()}

    def counts(self, splits: Mapping[str, Iterable[Example]]) -> dict[str, int]:
        """Split -> number of clips; the number of frames is unknown before decoding."""
        return {
            split: len(part.clips) for split, part in splits.items() if isinstance(part, Frames)
        }


class Frames:
    """Iterable over the frames of clips, decoded lazily and in order.

    An unreadable video yields one example that holds the error.
    """

    def __init__(self, clips: list[Clip]):
        """Frames of `clips`, one split of `read_clips`."""
        self.clips = clips

    def __iter__(self) -> Iterator[Example]:
        """Decode several clips at a time; 25 frames of 320x240 take 6 MB."""
        for examples in ordered_map(_frames, self.clips):
            yield from examples


def find_lists(source: Path | None, variant: str, origin: Path | None = None) -> dict[str, Path]:
    """Paths of the lists "classes", "train" and "test", in or beside `source` or the archive
    `origin` that it was extracted from; ValueError if one is missing."""
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
    lists = {}
    for key, name in names.items():
        existing = [folder / name for folder in folders if (folder / name).is_file()]
        if not existing:
            raise ValueError(
                f"ucf101: no {name} in {origin}, in its ucfTrainTestlist nor in one beside it; the "
                "lists are UCF101TrainTestSplits-RecognitionTask.zip, unpacked"
            )
        lists[key] = existing[0]
    return lists


def read_classes(path: Path) -> list[str]:
    """Class names from lines "NUMBER NAME", numbered from 1; ValueError names an invalid line."""
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

    `allow_partial` leaves out missing and repeated clips; other arguments as in `find_lists`.

    Returns:
        Split -> clips in the order of the list; one line about clips left out, or "".

    Raises:
        ValueError: an invalid line, or a missing or repeated clip; names the first line and the
            number of others.
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
    """(CLASS/CLIP, label, file and line) of each line "CLASS/CLIP.avi" or "CLASS/CLIP.avi NUMBER";
    ValueError for another form, an unknown class, or a number of another class."""
    # Copies of UCF101 differ in the case of HandstandPushups / HandStandPushups.
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
    """Clip name in lower case -> .avi file, or else directory of frames.

    Symbolic links to directories are not followed.

    Raises:
        ValueError: two files, or two directories, of one clip; or a video or frame that links to
            a file outside `source`.
    """
    videos: dict[str, Path] = {}
    folders: dict[str, Path] = {}
    for folder, inner, files in os.walk(source):
        inner.sort()
        contents = [(videos, Path(folder, file)) for file in files if file.lower().endswith(".avi")]
        if any(_FRAME.fullmatch(file) for file in files):
            contents.append((folders, Path(folder)))
        for table, path in contents:
            clip = (path.stem if table is videos else path.name).casefold()
            if clip in table:
                raise ValueError(f"{path}: {table[clip]} has the same name; remove one of the two")
            if table is videos:
                _check_inside(path, source)
            else:
                # Before decoding; scandir detects links without a stat per file.
                with os.scandir(path) as entries:
                    for entry in entries:
                        if entry.is_symlink() and _FRAME.fullmatch(entry.name):
                            _check_inside(Path(entry.path), source)
            table[clip] = path
    return folders | videos


def _check_inside(path: Path, source: Path) -> None:
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(source.resolve()):
        raise ValueError(f"{path}: a link that leads out of {source}; copy the file")


def _frames(clip: Clip) -> list[Example]:
    if clip.content.is_dir():
        matches = ((_FRAME.fullmatch(path.name), path) for path in clip.content.iterdir())
        stored = sorted((int(match[1]), path) for match, path in matches if match)
        chosen = [stored[position] for position in frame_positions(len(stored))]
        return [Example(f"{clip.name}/image_{n:04d}", path, clip.label) for n, path in chosen]
    try:
        frames = read_frames(clip.content)
    except ValueError as error:
        return [Example(f"{clip.name}/image_0001", error, clip.label)]
    return [Example(f"{clip.name}/image_{n + 1:04d}", pixels, clip.label) for n, pixels in frames]

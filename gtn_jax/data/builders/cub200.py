"""CUB-200-2011: 200 species of birds, 11,788 photographs.

https://www.vision.caltech.edu/datasets/cub_200_2011/ (Wah et al., 2011). The root holds `images/`,
`images.txt` (lines "1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg"),
`image_class_labels.txt` ("1 1": image, class) and `train_test_split.txt` ("1 0": image, 1 to
train).
"""

from pathlib import Path

from gtn_jax.data.builders.encode import Example
from gtn_jax.data.builders.listed import ListedBuilder
from gtn_jax.data.builders.lists import FileList, Line, Listing, find_root, read_lines
from gtn_jax.data.files import relative_name

_IMAGES, _LABELS, _SPLITS = "images.txt", "image_class_labels.txt", "train_test_split.txt"


class Cub200(ListedBuilder):
    """200 classes; no validation split."""

    known_counts = {"": {"train": 5_994, "test": 5_794}}
    description = "Caltech-UCSD Birds-200-2011, 11,788 photographs of 200 species."
    homepage = "https://www.vision.caltech.edu/datasets/cub_200_2011/"

    def read_lists(self) -> Listing:
        """Class names are folder names ("001.Black_footed_Albatross"), by class number."""
        root = find_root(self.source, ("images", _IMAGES, _LABELS, _SPLITS), self.title)
        images, labels, splits = (_numbered(root, name) for name in (_IMAGES, _LABELS, _SPLITS))
        for lines, name in ((labels, _LABELS), (splits, _SPLITS)):
            _check_same_images(images, lines, name)
        names = _class_names(images, labels)
        order = {number: label for label, number in enumerate(sorted(names))}
        files = FileList(root, self.allow_partial)
        examples: dict[str, list[Example]] = {"train": [], "test": []}
        for image, (text, where) in images.items():
            is_train, split_where = splits[image]
            if is_train not in ("0", "1"):
                raise ValueError(f"{split_where}: {is_train!r} is neither 0 nor 1")
            name, path = files.add(f"images/{text}", where)
            if path is not None:
                split = "train" if is_train == "1" else "test"
                examples[split].append(Example(name, path, order[_number(labels[image])]))
        return Listing([names[number] for number in sorted(names)], examples, files.finish())


def _numbered(root: Path, name: str) -> dict[int, Line]:
    """Number -> rest, of lines "NUMBER REST"."""
    lines: dict[int, Line] = {}
    for text, where in read_lines(root, name):
        number, _, rest = text.partition(" ")
        image = _number(Line(number, where))
        if not rest.strip():
            raise ValueError(f"{where}: {text!r} is not of the form IMAGE VALUE")
        if image in lines:
            raise ValueError(f"{where}: image {image} stands in {lines[image].where} already")
        lines[image] = Line(rest.strip(), where)
    return lines


def _number(line: Line) -> int:
    if not (line.text.isascii() and line.text.isdigit()):
        raise ValueError(f"{line.where}: {line.text!r} is not a number")
    return int(line.text)


def _check_same_images(images: dict[int, Line], lines: dict[int, Line], name: str) -> None:
    for image, (_, where) in images.items():
        if image not in lines:
            raise ValueError(f"{where}: this image is not in {name}; the lists belong together")
    for image, (_, where) in lines.items():
        if image not in images:
            raise ValueError(f"{where}: no such image in {_IMAGES}; the lists belong together")


def _class_names(images: dict[int, Line], labels: dict[int, Line]) -> dict[int, str]:
    """Class number -> folder name."""
    names: dict[int, str] = {}
    numbers: dict[str, int] = {}
    for image, (text, where) in images.items():
        folder, _, file = relative_name(text, where).partition("/")
        if not file:
            raise ValueError(f"{where}: {text!r} is not of the form CLASS/FILE")
        number = _number(labels[image])
        if (
            names.setdefault(number, folder) != folder
            or numbers.setdefault(folder, number) != number
        ):
            raise ValueError(
                f"{labels[image].where}: class {number} for the folder {folder}; elsewhere the "
                f"class is {names[number]} and the folder's number {numbers.get(folder, number)}"
            )
    return names

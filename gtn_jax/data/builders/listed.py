"""Data sets described by lists: the base class, and those whose lists have lines CLASS/FILE."""

import functools

from gtn_jax.data.builders.base import ImageClassificationBuilder
from gtn_jax.data.builders.encode import Example
from gtn_jax.data.builders.lists import Listing, find_root, listed_by_class


class ListedBuilder(ImageClassificationBuilder):
    """A builder that knows classes, splits and files before reading any image."""

    def read_lists(self) -> Listing:
        """Read the lists of `source`, once; ValueError names file and line of an invalid one."""
        raise NotImplementedError

    @functools.cached_property
    def _listing(self) -> Listing:
        return self.read_lists()

    def classes(self) -> list[str]:
        """Class names of the listing."""
        return self._listing.classes

    def examples(self) -> dict[str, list[Example]]:
        """Split -> examples in the order of the lists."""
        self.say_note(self._listing.note)
        return self._listing.examples

    def _read_numbered(self, validation: str, starts_with_folder: bool = False) -> Listing:
        names = {"train": "train", "validation": validation, "test": "test"}
        lists = {split: f"labels/{name}{self.variant}.txt" for split, name in names.items()}
        root = find_root(self.source, ("images", lists["train"]), self.title)
        return listed_by_class(root, lists, "images", self.allow_partial, starts_with_folder)


class Dtd(ListedBuilder):
    """Describable Textures Dataset: 47 classes of 120 photographs; variants are splits 1 to 10.

    https://www.robots.ox.ac.uk/~vgg/data/dtd/ (Cimpoi et al., CVPR 2014). The root holds `images/`
    and `labels/` with `train1.txt`, `val1.txt`, `test1.txt` to `..10.txt`, lines
    `banded/banded_0002.jpg`. A variant NAME that begins with a letter reads the user's own lists
    `labels/trainNAME.txt` and so on, of any length.
    """

    takes_own_lists = True
    variants = tuple(str(number) for number in range(1, 11))
    known_counts = {
        variant: {"train": 1_880, "validation": 1_880, "test": 1_880} for variant in variants
    }
    description = "Describable Textures Dataset, 5,640 photographs of 47 kinds of texture."
    homepage = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"

    def read_lists(self) -> Listing:
        """Classes are the sorted class directories in the lists."""
        return self._read_numbered("val")


class Minc2500(ListedBuilder):
    """MINC-2500: 23 materials, 2,500 patches each; variants are splits 1 to 5.

    http://opensurfaces.cs.cornell.edu/publications/minc/ (Bell et al., CVPR 2015). The root holds
    `images/` and `labels/` with `train1.txt`, `validate1.txt`, `test1.txt` to `..5.txt`, lines
    `images/brick/brick_001968.jpg`.
    """

    variants = tuple(str(number) for number in range(1, 6))
    known_counts = {
        variant: {"train": 48_875, "validation": 2_875, "test": 5_750} for variant in variants
    }
    description = "MINC-2500, 57,500 patches of 23 materials."
    homepage = "http://opensurfaces.cs.cornell.edu/publications/minc/"

    def read_lists(self) -> Listing:
        """Classes are the sorted class directories in the lists."""
        return self._read_numbered("validate", starts_with_folder=True)


class Mit67(ListedBuilder):
    """MIT indoor scenes: 67 classes of 80 training and 20 test photographs; no validation split.

    http://web.mit.edu/torralba/www/indoor.html (Quattoni and Torralba, CVPR 2009). The root holds
    `Images/`, `TrainImages.txt` and `TestImages.txt`, which are separate downloads. Some names
    contain spaces. The lists name 6,700 of the 15,620 photographs.
    """

    known_counts = {"": {"train": 5_360, "test": 1_340}}
    description = "MIT indoor scene recognition, 6,700 photographs of 67 kinds of place."
    homepage = "http://web.mit.edu/torralba/www/indoor.html"

    def read_lists(self) -> Listing:
        """Classes are the sorted class directories in the lists."""
        lists = {"train": "TrainImages.txt", "test": "TestImages.txt"}
        root = find_root(self.source, ("Images", *lists.values()), self.title)
        return listed_by_class(root, lists, "Images", self.allow_partial)

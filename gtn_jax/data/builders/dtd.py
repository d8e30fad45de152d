"""Describable Textures Dataset: 47 classes of 120 photographs, in ten splits of a third each.

https://www.robots.ox.ac.uk/~vgg/data/dtd/ (Cimpoi et al., CVPR 2014). The root holds `images/` and
`labels/` with `train1.txt`, `val1.txt`, `test1.txt` to `..10.txt`, lines `banded/banded_0002.jpg`.
"""

from gtn_jax.data.builders.listed import ListedBuilder
from gtn_jax.data.builders.lists import Listing, find_root, listed_by_class


class Dtd(ListedBuilder):
    """Forty-seven classes; variants are the authors' splits 1 to 10.

    Lists of your own, `labels/trainNAME.txt` and so on, are the variant NAME, which begins with a
    letter; nothing is known of their counts.
    """

    takes_own_lists = True
    variants = tuple(str(number) for number in range(1, 11))
    known_counts = {
        variant: {"train": 1_880, "validation": 1_880, "test": 1_880} for variant in variants
    }
    description = "Describable Textures Dataset, 5,640 photographs of 47 kinds of texture."
    homepage = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"

    def read_lists(self) -> Listing:
        """Classes are names of the folders in the lists, sorted."""
        names = {"train": "train", "validation": "val", "test": "test"}
        lists = {split: f"labels/{name}{self.variant}.txt" for split, name in names.items()}
        root = find_root(self.source, ("images", lists["train"]), self.title)
        return listed_by_class(root, lists, "images", self.allow_partial)

"""MINC-2500: 23 materials, 2,500 patches each, in five splits.

http://opensurfaces.cs.cornell.edu/publications/minc/ (Bell et al., CVPR 2015). The root holds
`images/` and `labels/` with `train1.txt`, `validate1.txt`, `test1.txt` to `..5.txt`, lines
`images/brick/brick_001968.jpg`.
"""

from gtn_jax.data.builders.listed import ListedBuilder
from gtn_jax.data.builders.lists import Listing, find_root, listed_by_class


class Minc2500(ListedBuilder):
    """Twenty-three classes; variants are the authors' splits 1 to 5."""

    variants = tuple(str(number) for number in range(1, 6))
    known_counts = {
        variant: {"train": 48_875, "validation": 2_875, "test": 5_750} for variant in variants
    }
    description = "MINC-2500, 57,500 patches of 23 materials."
    homepage = "http://opensurfaces.cs.cornell.edu/publications/minc/"

    def read_lists(self) -> Listing:
        """Classes are names of the folders in the lists, sorted."""
        names = {"train": "train", "validation": "validate", "test": "test"}
        lists = {split: f"labels/{name}{self.variant}.txt" for split, name in names.items()}
        root = find_root(self.source, ("images", lists["train"]), self.title)
        return listed_by_class(root, lists, "images", self.allow_partial, starts_with_folder=True)

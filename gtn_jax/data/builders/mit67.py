"""MIT67, indoor scenes: 67 classes of 80 training and 20 test photographs.

http://web.mit.edu/torralba/www/indoor.html (Quattoni and Torralba, CVPR 2009). The root holds
`Images/`, `TrainImages.txt` and `TestImages.txt`, which are downloaded one by one. Some names hold
spaces. Of the 15,620 photographs the lists name 6,700.
"""

from gtn_jax.data.builders.listed import ListedBuilder
from gtn_jax.data.builders.lists import Listing, find_root, listed_by_class

LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}


class Mit67(ListedBuilder):
    """Sixty-seven classes; there is no validation split."""

    known_counts = {"": {"train": 5_360, "test": 1_340}}
    description = "MIT indoor scene recognition, 6,700 photographs of 67 kinds of place."
    homepage = "http://web.mit.edu/torralba/www/indoor.html"

    def read_lists(self) -> Listing:
        """Classes are names of the folders in the lists, sorted."""
        root = find_root(self.source, ("Images", *LISTS.values()), self.title)
        return listed_by_class(root, LISTS, "Images", self.allow_partial)

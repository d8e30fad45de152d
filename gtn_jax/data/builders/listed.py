"""A builder whose lists say everything: classes, splits and files, all read before any image.

What lists may say is lists.py's.
"""

import functools

from gtn_jax.data.builders.base import ImageClassificationBuilder
from gtn_jax.data.builders.encode import Example
from gtn_jax.data.builders.lists import Listing


class ListedBuilder(ImageClassificationBuilder):
    """Subclasses read the lists of their source."""

    def read_lists(self) -> Listing:
        """Called once.

        Raises:
            ValueError: a list that is missing or wrong, with file and line.
        """
        raise NotImplementedError

    @functools.cached_property
    def _listing(self) -> Listing:
        return self.read_lists()

    def classes(self) -> list[str]:
        """As in the listing."""
        return self._listing.classes

    def examples(self) -> dict[str, list[Example]]:
        """The listing's splits, in the order of the lists."""
        self.say_note(self._listing.note)
        return self._listing.examples

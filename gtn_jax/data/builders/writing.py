"""Writing of examples as ArrayRecord files (https://github.com/google/array_record).

TFDS's own writer needs TensorFlow above 1 GB per split, and memory for the whole split.
"""

import functools
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from gtn_jax.data.builders.encode import Encoded, Example, encode
from gtn_jax.data.splits import Index, save_index
from gtn_jax.data.threads import ordered_map

# One record per group for random access; zstd's lowest level (figures in docs/datasets.md).
_OPTIONS = "group_size:1,zstd:1"
_NAMED_FILES = 10
UNREADABLE = "unreadable.txt"
"""Beside a store's versions: all unreadable files, if they are too many for a message."""


class SplitWriter:
    """Writes splits one after the other and collects unreadable and repeated images."""

    def __init__(
        self,
        features: Any,
        short_side: int | None,
        allow_partial: bool,
        say: Callable[[str], None],
        folder: Path,
    ):
        """`features` are TFDS's of `{"image", "label", "file"}`; `UNREADABLE` is below `folder`.

        `short_side` is in pixels (None stores files unchanged); `allow_partial` leaves unreadable
        files out; `say` receives messages for the user.
        """
        self._list = folder / UNREADABLE
        self._features, self._short_side = features, short_side
        self._allow_partial, self._say = allow_partial, say
        self._seen: dict[bytes, tuple[str, str]] = {}
        self._repeated: list[str] = []
        self._unreadable: list[str] = []

    def write(
        self, split: str, examples: Iterable[Example], path: Path, advance: Callable[[], None]
    ) -> int:
        """Write one split and its index; `advance` is called once per image.

        Returns:
            Number of images written.

        Raises:
            ValueError: no image could be written.
        """
        labels, files, sizes = [], [], []
        unreadable = len(self._unreadable)
        writer = ArrayRecordWriter(str(path), _OPTIONS)
        try:
            work = functools.partial(_try_encode, short_side=self._short_side)
            for file, label, encoded in ordered_map(work, examples):
                advance()
                if isinstance(encoded, Encoded):
                    self._note_repeated(split, file, encoded.digest)
                    image = io.BytesIO(encoded.image)
                    record = {"image": image, "label": label, "file": file}
                    writer.write(self._features.serialize_example(record))
                    labels.append(label)
                    files.append(file)
                    sizes.append(encoded.size[::-1])
                else:
                    self._unreadable.append(str(encoded))
        finally:
            writer.close()
        if not labels:
            if len(self._unreadable) == unreadable:
                raise ValueError(f"the split {split} has no image at all; complete the data set")
            raise ValueError(
                f"the split {split} has no image at all that can be read; repair one at least\n"
                + self._unreadable_message()
            )
        save_index(Index(np.array(labels), np.array(files), np.array(sizes)), path.parent, split)
        return len(labels)

    def finish(self) -> None:
        """Report repeated and unreadable images; ValueError for these without `allow_partial`."""
        if self._repeated:
            self._say(
                f"warning: {len(self._repeated):,} images are byte for byte in another split "
                f"too, e.g. {self._repeated[0]}"
            )
        if self._unreadable and not self._allow_partial:
            message = self._unreadable_message()
            raise ValueError(f"{message}\nrepair them, or pass `allow_partial=True`")
        if self._unreadable:
            self._say(f"{self._unreadable_message()}; left out")
        else:
            self._list.unlink(missing_ok=True)

    @property
    def left_out(self) -> int:
        """Number of unreadable files so far."""
        return len(self._unreadable)

    def _note_repeated(self, split: str, file: str, digest: bytes) -> None:
        first = self._seen.setdefault(digest, (split, file))
        if first[0] != split:
            self._repeated.append(f"{split} {file} = {first[0]} {first[1]}")

    def _unreadable_message(self) -> str:
        lines = "; ".join(self._unreadable[:_NAMED_FILES])
        message = f"{len(self._unreadable):,} unreadable: {lines}"
        more = len(self._unreadable) - _NAMED_FILES
        if more <= 0:
            self._list.unlink(missing_ok=True)
            return message
        self._list.write_text("".join(f"{line}\n" for line in self._unreadable))
        return f"{message}; and {more:,} more, all of them in {self._list}"


def _try_encode(
    example: Example, short_side: int | None
) -> tuple[str, int, Encoded | ValueError | OSError]:
    try:
        return example.file, example.label, encode(example.content, example.file, short_side)
    except (ValueError, OSError) as error:
        return example.file, example.label, error

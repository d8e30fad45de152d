"""What every TFDS builder here shares: features, file format, and splits from plain tuples.

TFDS (https://www.tensorflow.org/datasets) is used without TensorFlow: examples hold *encoded*
image files, records are ArrayRecord, and `tfds.core.DatasetInfo(builder=self, ...)` is the way to
give information that works then. Writing is writing.py's, decoding data/decode.py's.
"""

import contextlib
import logging
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from gtn_jax.data import stores
from gtn_jax.data.builders.encode import Example
from gtn_jax.data.builders.writing import SplitWriter
from gtn_jax.data.progress import PrepareBar


class ImageClassificationBuilder(FileReaderBuilder, skip_registration=True):
    """A builder that needs only classes and examples; subclasses fill in the rest.

    Attributes:
        variants: what may follow the name ("1" in dtd/1); empty if nothing may.
        takes_own_lists: a variant may also be a user's own word, where the source has its lists.
        known_counts: variant -> split -> how many `unit` were published; checked.
        unit: what `known_counts` counts.
        keeps_files: files are stored as they are, whatever short side is asked for.
        encoding: "png" or "jpeg", of files that are stored as they are.
        description: one paragraph for the dataset's info.
        homepage: where the data comes from.
    """

    VERSION = tfds.core.Version(stores.VERSION)
    variants: tuple[str, ...] = ()
    takes_own_lists = False
    known_counts: Mapping[str, Mapping[str, int]] = {}
    unit = "images"
    keeps_files = False
    encoding = "jpeg"
    description = ""
    homepage = ""

    def __init_subclass__(cls, skip_registration: bool = True, **arguments: Any):
        """Keep ours out of TFDS's registry: its own catalog has data sets of the same names."""
        del skip_registration
        super().__init_subclass__(skip_registration=True, **arguments)

    def __init__(
        self,
        *,
        source: Path | None = None,
        origin: Path | None = None,
        variant: str = "",
        short_side: int | None = None,
        allow_partial: bool = False,
        say: Callable[[str], None] | None = None,
        **arguments: Any,
    ):
        """Read the lists of a source; nothing is written yet.

        Args:
            source: the folder or file that the examples are read from, if one is needed.
            origin: what the user named: the archive that `source` was unpacked from.
            variant: one of `variants`, or "".
            short_side: of the images that are stored, in pixels; None stores files as they are.
            allow_partial: go on over missing, repeated and unreadable files and wrong counts.
            say: takes lines for the user.
            arguments: of TFDS, e.g. data_dir.
        """
        self.source, self.variant, self.short_side = source, variant, short_side
        self.origin = source if origin is None else origin
        self.allow_partial, self._has_left_out = allow_partial, False
        self.say = say or (lambda line: None)
        name = stores.config_name(variant, short_side)
        if name:
            arguments["config"] = tfds.core.BuilderConfig(name=name)
        with _quiet():
            super().__init__(file_format="array_record", **arguments)

    def classes(self) -> list[str]:
        """Class names in label order; stored with the data, so reading needs no source."""
        raise NotImplementedError

    def examples(self) -> Mapping[str, Iterable[Example]]:
        """Split name -> its examples, in a fixed order; lists are counted before work begins."""
        raise NotImplementedError

    def counts(self, splits: Mapping[str, Iterable[Example]]) -> dict[str, int]:
        """How many `unit` each split has; compared with `known_counts` before anything is read.

        Here: the splits that have a length. A builder with `known_counts` has to count all.

        Args:
            splits: what `examples` returned.
        """
        return {name: len(part) for name, part in splits.items() if isinstance(part, Sized)}

    def say_note(self, note: str) -> None:
        """Pass a line on to the user about what the lists have left out, if there is one."""
        if note:
            self._has_left_out = True
            self.say(note)

    @property
    def title(self) -> str:
        """The data set's name with its variant."""
        return "/".join(filter(None, [self.name, self.variant]))

    def _info(self) -> tfds.core.DatasetInfo:
        encoding = "png" if self.short_side else self.encoding
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format=encoding),
                "label": tfds.features.ClassLabel(names=self.classes()),
                "file": tfds.features.Text(),
            }
        )
        return _Info(
            builder=self,
            features=features,
            description=self.description,
            homepage=self.homepage,
            disable_shuffling=True,
        )

    def _log_download_bytes(self) -> None:
        """TFDS's account of what it does goes to nobody: `say` has ours."""

    def _log_download_done(self) -> None:
        """As above."""

    def _make_download_manager(self, download_dir: Any, download_config: Any) -> Any:
        """TFDS's own would make a folder for downloads, of which there are none."""
        del download_dir, download_config
        return types.SimpleNamespace(downloaded_size=0)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        """Write every split; TFDS calls this with `data_path` set to an unfinished folder."""
        del dl_manager, download_config  # nothing here is downloaded
        splits = self.examples()
        found = self.counts(splits)
        is_whole = check_counts(self, found)
        sizes = [len(part) for part in splits.values() if isinstance(part, Sized)]
        total = sum(sizes) if len(sizes) == len(splits) else None
        folder = Path(self.data_path)
        writer = SplitWriter(
            self.info.features, self.short_side, self.allow_partial, self.say, folder.parent
        )
        infos = []
        with PrepareBar(self.name, total) as bar:
            for name, part in splits.items():
                template = self._get_filename_template(split_name=name)
                path = template.sharded_filepath(shard_index=0, num_shards=1)
                stored = writer.write(name, part, Path(path), bar.advance)
                infos.append(
                    tfds.core.SplitInfo(
                        name=name,
                        shard_lengths=[stored],
                        num_bytes=path.stat().length,
                        filename_template=template,
                    )
                )
        writer.finish()
        partial = not is_whole or self._has_left_out or writer.left_out > 0
        stores.save_prepared(folder, stores.Prepared(found, self.unit, partial))
        self.info.set_splits(tfds.core.SplitDict(infos))


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """TFDS would ask a server about ours, and leave a temporary folder behind each time."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # TFDS warns of every config that is not listed in the class; ours hold a number of pixels.
    logger = logging.getLogger("absl")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def check_counts(builder: ImageClassificationBuilder, found: Mapping[str, int]) -> bool:
    """Compare with what was published, and say so.

    Returns:
        Whether nothing differs.

    Raises:
        ValueError: another number, and no `allow_partial`.
    """
    known = builder.known_counts.get(builder.variant, {})
    parts = [
        f"{split} {count:,}" + (f" of {known[split]:,}" if split in known else "")
        for split, count in found.items()
    ]
    line = f"{builder.title}: {', '.join(parts)} {builder.unit}"
    is_whole = all(found.get(split) == count for split, count in known.items())
    if is_whole:
        if parts:
            builder.say(line + (", as published" if known else ""))
    elif builder.allow_partial:
        builder.say(f"{line}: not the published data set")
    else:
        raise ValueError(
            f"{line}: not the published numbers; complete the data set, or pass "
            "`allow_partial=True`"
        )
    return is_whole

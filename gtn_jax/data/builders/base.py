"""The base class of the TFDS builders.

TFDS (https://www.tensorflow.org/datasets) is used without TensorFlow: examples hold *encoded*
image files, records are ArrayRecord, and `tfds.core.DatasetInfo(builder=self, ...)` is the
constructor that works then.
"""

import types
from collections.abc import Callable, Iterable, Mapping, Sized
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from gtn_jax.data import stores
from gtn_jax.data.builders.encode import Example
from gtn_jax.data.builders.writing import SplitWriter
from gtn_jax.data.progress import PrepareBar, only_errors


class ImageClassificationBuilder(FileReaderBuilder, skip_registration=True):
    """A builder whose subclasses define `classes` and `examples`."""

    VERSION = tfds.core.Version(stores.VERSION)
    variants: tuple[str, ...] = ()  # valid suffixes of the name: "1" in dtd/1
    takes_own_lists = False  # whether a variant may also name split lists of the user's
    known_counts: Mapping[str, Mapping[str, int]] = {}  # variant -> split -> published `unit`s
    unit = "images"  # or "clips"
    keeps_files = False  # whether `short_side` is ignored
    encoding = "jpeg"  # or "png", of files stored unchanged
    description = ""
    homepage = ""

    def __init_subclass__(cls, skip_registration: bool = True, **arguments: Any):
        """Skip TFDS's registry, whose catalog has data sets of the same names."""
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
        """Configure the builder; nothing is read or written yet.

        `source` holds the examples; `origin` is the archive that it was extracted from. `variant`
        is one of `variants` or "", `short_side` in pixels (None stores files unchanged).
        `allow_partial` skips missing, repeated and unreadable files and accepts other counts; `say`
        receives messages for the user. `arguments` are TFDS's, such as data_dir.
        """
        self.source, self.variant, self.short_side = source, variant, short_side
        self.origin = source if origin is None else origin
        self.allow_partial, self._has_left_out = allow_partial, False
        self.say = say or (lambda line: None)
        name = stores.config_name(variant, short_side)
        if name:
            arguments["config"] = tfds.core.BuilderConfig(name=name)
        # TFDS warns about every config that the class does not list; ours hold a number of pixels.
        with only_errors("absl"):
            super().__init__(file_format="array_record", **arguments)

    def classes(self) -> list[str]:
        """Class names in label order; stored with the records."""
        raise NotImplementedError

    def examples(self) -> Mapping[str, Iterable[Example]]:
        """Split -> examples in a fixed order; problems with the lists are raised here."""
        raise NotImplementedError

    def counts(self, splits: Mapping[str, Iterable[Example]]) -> dict[str, int]:
        """Split -> number of `unit`; by default only of splits with a length.

        A builder with `known_counts` must count all splits.
        """
        return {name: len(part) for name, part in splits.items() if isinstance(part, Sized)}

    def say_note(self, note: str) -> None:
        """Report what the lists left out, unless `note` is empty."""
        if note:
            self._has_left_out = True
            self.say(note)

    @property
    def title(self) -> str:
        """Name and variant, for messages."""
        return "/".join(filter(None, [self.name, self.variant]))

    def _info(self) -> tfds.core.DatasetInfo:
        encoding = "png" if self.short_side else self.encoding
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format=encoding),
            "label": tfds.features.ClassLabel(names=self.classes()),
            "file": tfds.features.Text(),
        }
        return _Info(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            description=self.description,
            homepage=self.homepage,
            disable_shuffling=True,
        )

    def _log_download_bytes(self) -> None:
        pass  # `say` reports instead

    def _log_download_done(self) -> None:
        pass

    def _make_download_manager(self, download_dir: Any, download_config: Any) -> Any:
        # A stand-in, as TFDS's manager would create a download directory.
        del download_dir, download_config
        return types.SimpleNamespace(downloaded_size=0)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        """Write every split; TFDS calls this with `data_path` set to an unfinished directory."""
        del dl_manager, download_config  # nothing is downloaded
        splits = self.examples()
        counts = self.counts(splits)
        is_complete = check_counts(self, counts)
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
        partial = not is_complete or self._has_left_out or writer.left_out > 0
        stores.save_prepared(folder, stores.Prepared(counts, self.unit, partial))
        self.info.set_splits(tfds.core.SplitDict(infos))


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Disabled: TFDS queries a server and leaves a temporary directory behind each time."""


def check_counts(builder: ImageClassificationBuilder, counts: Mapping[str, int]) -> bool:
    """Report the counts; whether they are the published ones. ValueError if `allow_partial` is not
    set and they are not."""
    known = builder.known_counts.get(builder.variant, {})
    parts = [
        f"{split} {count:,}" + (f" of {known[split]:,}" if split in known else "")
        for split, count in counts.items()
    ]
    line = f"{builder.title}: {', '.join(parts)} {builder.unit}"
    is_complete = all(counts.get(split) == count for split, count in known.items())
    if is_complete:
        if parts:
            builder.say(line + (", as published" if known else ""))
    elif builder.allow_partial:
        builder.say(f"{line}: not the published data set")
    else:
        raise ValueError(
            f"{line}: not the published numbers; complete the data set, or pass "
            "`allow_partial=True`"
        )
    return is_complete

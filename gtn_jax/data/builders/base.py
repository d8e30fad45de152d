"""What every TFDS builder here shares: features, file format, and splits from plain tuples.

TFDS (https://www.tensorflow.org/datasets) is used without TensorFlow: examples hold *encoded*
image files, records are ArrayRecord, and `tfds.core.DatasetInfo(builder=self, ...)` is the way to
give information that works then. Decoding is data/decode.py's.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds


class Example(NamedTuple):
    """One labelled image file.

    Attributes:
        file: its name in the source, unique in the split.
        encoded: the bytes of the file (JPEG, PNG, ...).
        label: index into the builder's classes.
    """

    file: str
    encoded: bytes
    label: int


class ImageClassificationBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder that needs only classes and examples; subclasses fill in the rest.

    Attributes:
        encoding: "png" or "jpeg", of every example.
        description: one paragraph for the dataset's info.
        homepage: where the data comes from.
    """

    VERSION = tfds.core.Version("1.0.0")
    encoding = "jpeg"
    description = ""
    homepage = ""

    def __init__(self, *, source: Path | None = None, **arguments: Any):
        """`source` is the archive or folder that the examples are read from, if one is needed."""
        self.source = source
        super().__init__(file_format="array_record", **arguments)

    def classes(self) -> list[str]:
        """Class names in label order; stored with the data, so reading needs no source."""
        raise NotImplementedError

    def examples(self) -> Mapping[str, Iterable[Example]]:
        """Split name -> its examples, in a fixed order."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format=self.encoding),
                "label": tfds.features.ClassLabel(names=self.classes()),
                "file": tfds.features.Text(),
            }
        )
        return tfds.core.DatasetInfo(
            builder=self,
            features=features,
            description=self.description,
            homepage=self.homepage,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing here is downloaded
        splits = self.examples()
        return {split: self._generate_examples(examples) for split, examples in splits.items()}

    def _generate_examples(self, examples: Iterable[Example]) -> Iterator[tuple[int, dict]]:
        for number, example in enumerate(examples):
            image = io.BytesIO(example.encoded)
            yield number, {"image": image, "label": example.label, "file": example.file}

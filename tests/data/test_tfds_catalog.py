"""`tfds:NAME` on data sets that TFDS's own writer has put on disk, and on names that are absent."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from gtn_jax.data import tfds_catalog
from gtn_jax.data.decode import decode
from gtn_jax.data.tfds_catalog import open_stock


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


class StockColors(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """As a builder of the catalog: other features too, and splits of other names."""

    VERSION = tfds.core.Version("1.0.0")
    image, label, named, splits = "image", "label", True, {"train": 4, "val": 2, "test": 2, "x": 1}

    def _info(self):
        features = {
            self.image: tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            self.label: tfds.features.ClassLabel(names=["dark", "light"]),
            "boxes": tfds.features.Sequence({"box": tfds.features.BBoxFeature()}),
        }
        if self.named:
            features["file_name"] = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(count) for name, count in self.splits.items()}

    def _generate_examples(self, count=0):
        for number in range(count):
            example = {self.image: io.BytesIO(png(100 * (number % 2))), self.label: number % 2}
            example["boxes"] = {"box": [tfds.features.BBox(0.0, 0.0, 1.0, 1.0)] * number}
            if self.named:
                example["file_name"] = f"{number}.png"
            yield number, example


def write(data_dir, kind=StockColors, **options):
    kind(data_dir=data_dir, file_format="array_record", **options).download_and_prepare()


def test_prepared_data_set(tmp_path):
    write(tmp_path)
    splits = open_stock("tfds:stock_colors", str(tmp_path))
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 4,
        "validation": 2,
        "test": 2,
    }
    assert splits["train"].classes == ("dark", "light")
    one, other = splits["train"].read(np.array([3, 0]))
    assert (one["label"], one["file"], other["label"]) == (1, b"3.png", 0)
    assert decode(one["image"], 4, "3.png")[2, 2, 0] == 100
    assert splits["train"].read([]) == []


class OtherWords(StockColors, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    image, label, named, splits = "picture", "shade", False, {"train": 3}


def test_features_of_other_names_and_newest_version(tmp_path):
    write(tmp_path, OtherWords)
    (tmp_path / "other_words/1.0.0").rename(tmp_path / "other_words/10.0.0")
    write(tmp_path, OtherWords)
    assert tfds_catalog._find(tmp_path, "other_words") == tmp_path / "other_words/10.0.0"
    splits = open_stock("tfds:other_words", str(tmp_path))
    assert [example["file"] for example in splits["train"].read([2])] == [b"0000002"]


def test_configs(tmp_path):
    for config in ("small", "large"):
        write(tmp_path, config=tfds.core.BuilderConfig(name=config))
        assert len(open_stock(f"tfds:stock_colors/{config}", str(tmp_path))["train"]) == 4
    with pytest.raises(ValueError, match="several are prepared; say which, of large, small"):
        open_stock("tfds:stock_colors", str(tmp_path))


class NoTrain(StockColors, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    splits = {"test": 1, "unlabeled": 1}


def test_no_train(tmp_path):
    write(tmp_path, NoTrain)
    with pytest.raises(ValueError, match="no labeled split called train; there are test, unlab"):
        open_stock("tfds:no_train", str(tmp_path))


class Absent:
    """What `tfds.builder` returns for a data set that is not on disk."""

    def __init__(self, error: Exception):
        self.error = error

    def download_and_prepare(self):
        print("a banner of many lines")
        raise RuntimeError("Failed to construct dataset") from self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow"),
         "preparing it needs TensorFlow once.*builder\\('beans', .*'array_record'\\)"),
        (ConnectionError("Name or service not known"), "no network to download it.*'beans'"),
        (AssertionError("Manual directory\n does not exist"), "RuntimeError: Failed to construct"),
    ],
    ids=["tensorflow", "network", "other"],
)  # fmt: skip
def test_absent_data_set_is_one_line(tmp_path, monkeypatch, capsys, error, message):
    monkeypatch.setattr(tfds, "builder", lambda *words, **options: Absent(error))
    said = []
    with pytest.raises(ValueError, match=message) as refused:
        open_stock("tfds:beans", str(tmp_path), said.append)
    assert len(str(refused.value).splitlines()) == 1
    assert said == [f"tfds:beans: not in {tmp_path}; TFDS downloads and prepares it, once"]
    assert capsys.readouterr().out == ""


def test_unknown_names(tmp_path, monkeypatch):
    def builder(name, **options):
        raise tfds.core.DatasetNotFoundError(name)

    monkeypatch.setattr(tfds, "builder", builder)
    names = ["mnist", "kmnist", *(f"other_{number}" for number in range(1000))]
    monkeypatch.setattr(tfds, "list_builders", lambda **options: names)
    said = []
    for name, hint in [("mnits", "did you mean mnist"), ("xyz/a", "all are in https://www.tensor")]:
        with pytest.raises(ValueError, match=f"unknown data set of TFDS '.*'; {hint}") as refused:
            open_stock(f"tfds:{name}", str(tmp_path), said.append)
        assert len(str(refused.value)) < 200 and tfds_catalog.CATALOGUE in str(refused.value)
    assert said == []  # there is nothing to wait for
    for name in ("tfds:", "tfds:../secret", "tfds:/etc", "tfds:a/../b", "tfds:a/b/c"):
        with pytest.raises(ValueError, match="expected tfds:NAME or NAME/CONFIG"):
            open_stock(name, str(tmp_path))


def test_files_that_need_tensorflow(tmp_path):
    write(tmp_path)
    info = tmp_path / "stock_colors/1.0.0/dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match="prepared as tfrecord, which needs TensorFlow"):
        open_stock("tfds:stock_colors", str(tmp_path))

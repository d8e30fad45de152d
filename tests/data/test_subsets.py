"""What is held out and chosen: by hand on labels, and on the digits."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from gtn_jax.config import DataConfig
from gtn_jax.data.sources import open_splits
from gtn_jax.data.splits import Index, Split, index_file, save_index
from gtn_jax.data.subsets import choose, choose_per_class, stratified


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    return file.getvalue()


PNG = _png()


class Labeled:
    """A data source of labels without images."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitems__(self, positions):
        return [{"label": self.labels[p], "file": b"%d.png" % p, "image": PNG} for p in positions]


def split_of(labels, name="train") -> Split:
    return Split(Labeled(labels), ("a", "b", "c"), name)


LABELS = [0] * 20 + [1] * 10 + [2] * 1


def labels_of(part) -> list[int]:
    return np.bincount(part.labels, minlength=3).tolist()


def test_choice_per_class(data_dir):
    digits = open_splits("digits", data_dir)
    config = DataConfig(train_images_per_class=4)
    chosen = [choose(digits, config, seed)["train"] for seed in (0, 0, 1)]
    assert np.bincount(chosen[0].labels).tolist() == [4] * 10
    assert chosen[0].positions.tolist() == chosen[1].positions.tolist()
    assert chosen[0].positions.tolist() != chosen[2].positions.tolist()
    # A class with fewer gives all it has: by hand, of labels 0 0 1.
    assert choose_per_class(np.array([0, 0, 1]), np.arange(3), 2, 0).tolist() == [True] * 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 3], r"1 labels of train are .* image 2 \(2.png\): 3, wanted 0 to 2"),
        ([0, -1, -1], r"2 labels of train are .* image 1 \(1.png\): -1, wanted"),
    ],
)
def test_label_that_is_no_class(labels, message):
    with pytest.raises(ValueError, match=message) as error:
        choose({"train": split_of(labels)}, DataConfig(), seed=0)
    assert len(str(error.value).splitlines()) <= 3


@pytest.mark.parametrize("label", [0.5, np.nan])
def test_label_that_is_no_number_of_a_class(tmp_path, label):
    """As an index could hold it."""
    index = Index(np.array([0, label]), np.array(["a.png", "b.png"]), np.full((2, 2), 4))
    save_index(index, tmp_path, "train")
    split = Split(range(2), ("a", "b"), "train", index_file=index_file(tmp_path, "train"))
    with pytest.raises(ValueError, match=rf"image 1 \(b.png\): {label}, wanted 0 to 1"):
        choose({"train": split}, DataConfig(), seed=0)


def test_a_data_set_with_all_three_splits_stays_as_it_is(data_dir):
    parts = choose(open_splits("digits", data_dir), DataConfig(), seed=0)
    assert {name: len(part.positions) for name, part in parts.items()} == {
        "train": 997,
        "validation": 300,
        "test": 500,
    }


def test_stratified_share_by_hand():
    share = stratified(np.array(LABELS), np.arange(31), 0.1, [0])
    # 2 of 20, 1 of 10; a class of one image is never held out.
    assert [share[:20].sum(), share[20:30].sum(), share[30]] == [2, 1, 0]
    # At least one of each class: 0.1 of 4 would round to none.
    assert stratified(np.zeros(4, int), np.arange(4), 0.1, [0]).sum() == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_images_are_disjoint_and_complete(seed):
    parts = choose({"train": split_of(LABELS)}, DataConfig(), seed)
    assert list(parts) == ["train", "validation", "test"]
    assert labels_of(parts["test"]) == [4, 2, 0]
    assert labels_of(parts["validation"]) == [2, 1, 0]
    assert labels_of(parts["train"]) == [14, 7, 1]
    together = np.concatenate([part.positions for part in parts.values()])
    assert sorted(together.tolist()) == list(range(31))


def test_the_seed_moves_validation_but_never_test():
    first, second = (choose({"train": split_of(LABELS)}, DataConfig(), seed) for seed in (0, 1))
    assert first["test"].positions.tolist() == second["test"].positions.tolist()
    assert first["validation"].positions.tolist() != second["validation"].positions.tolist()


def test_own_splits_are_respected():
    with_test = {"train": split_of(LABELS), "test": split_of([0, 1], "test")}
    parts = choose(with_test, DataConfig(), seed=0)
    assert len(parts["test"].positions) == 2
    assert labels_of(parts["validation"]) == [2, 1, 0]
    # The authors': all of train trains, nothing validates.
    parts = choose(with_test, dataclasses.replace(DataConfig(), validation_fraction=0.0), seed=0)
    assert set(parts) == {"train", "test"}
    # Without a test split but with validation, no test images are made.
    with_validation = {"train": split_of(LABELS), "validation": split_of([0], "validation")}
    assert set(choose(with_validation, DataConfig(), seed=0)) == {"train", "validation"}


def video_files() -> list[str]:
    """Two classes, each of 3 groups of 2 clips of 2 frames."""
    return [
        f"{name}/v_{name}_g{group:02d}_c{clip:02d}/image_{frame}"
        for name in "ab"
        for group in (1, 2, 3)
        for clip in (1, 2)
        for frame in (1, 2)
    ]


class Videos(Labeled):
    """A data source of frames."""

    def __init__(self):
        super().__init__([0] * 12 + [1] * 12)

    def __getitems__(self, positions):
        files = video_files()
        return [
            {"label": self.labels[p], "file": files[p].encode(), "image": PNG} for p in positions
        ]


def test_videos_stay_together():
    split = Split(Videos(), ("a", "b"), "train", clips=True)
    test = Split(Labeled([0, 1]), ("a", "b"), "test")
    parts = choose({"train": split, "test": test}, DataConfig(train_images_per_class=3), seed=0)
    held_out = {file.split("_c")[0] for file in parts["validation"].files}
    # One group of three, at least one: 4 frames a class; then 3 clips of the other 4.
    assert len(held_out) == 2 and labels_of(parts["validation"]) == [4, 4, 0]
    assert not held_out & {file.split("_c")[0] for file in parts["train"].files}
    assert labels_of(parts["train"]) == [6, 6, 0]
    clips = {file.rpartition("/")[0] for file in parts["train"].files}
    assert len(clips) == 6

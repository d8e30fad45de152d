"""What was said of each image: written, read, refused when damaged."""

import numpy as np
import pytest

from gtn_jax.runs.predictions import SavedPredictions, read_predictions, write_predictions

TEST = SavedPredictions(
    np.array(["a/1.png", "b/ü.png"]),
    np.array([0, 1], np.int32),
    np.array([0, 0], np.int32),
    np.array([0.75, 0.625], np.float32),
    np.array([0.75, 0.25], np.float32),
)


def test_written_then_read(tmp_path):
    path = tmp_path / "predictions.npz"
    write_predictions(path, {"test": TEST, "validation": TEST})
    found = read_predictions(path, "test")
    assert found is not None
    for name, array in found._asdict().items():
        wanted = getattr(TEST, name)
        assert array.dtype == wanted.dtype
        assert array.tolist() == wanted.tolist()
    assert read_predictions(path, "train") is None


def test_none_where_nothing_was_written(tmp_path):
    assert read_predictions(tmp_path / "predictions.npz", "test") is None


@pytest.mark.parametrize("damage", ["torn", "no archive", "short array"])
def test_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "predictions.npz"
    short = TEST._replace(labels=TEST.labels[:1]) if damage == "short array" else TEST
    write_predictions(path, {"test": short})
    if damage != "short array":
        path.write_bytes(path.read_bytes()[:100] if damage == "torn" else b"text")
    with pytest.raises(ValueError, match=r"predictions\.npz: not readable"):
        read_predictions(path, "test")

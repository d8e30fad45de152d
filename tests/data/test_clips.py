"""Frames to clips: numbers by hand, draws that depend on nothing but seed, epoch and clip."""

import grain
import numpy as np

from gtn_jax.data.clips import (
    clip_ids,
    clip_rows,
    epoch_rows,
    group_ids,
    mean_of_frames,
    random_frame,
    row_drawer,
)

FILES = [
    "YoYo/v_YoYo_g01_c01/image_0001",
    "YoYo/v_YoYo_g01_c01/image_0009",
    "YoYo/v_YoYo_g01_c02/image_0001",
    "Archery/v_Archery_g01_c01/image_0001",
    "Archery/v_Archery_g01_c01/image_0002",
    "Archery/v_Archery_g01_c01/image_0004",
]


def test_a_clip_is_the_folder_of_its_frames():
    ids = clip_ids(FILES)
    assert ids.dtype == np.int32
    assert ids.tolist() == [0, 0, 1, 2, 2, 2]
    assert [rows.tolist() for rows in clip_rows(ids)] == [[0, 1], [2], [3, 4, 5]]
    assert [rows.tolist() for rows in clip_rows(np.array([1, 0, 1, 0]))] == [[1, 3], [0, 2]]
    assert clip_rows(clip_ids([])) == []
    assert group_ids(FILES).tolist() == [0, 0, 0, 1, 1, 1]


DRAWS = {(0, 0, 0): 21, (0, 0, 1): 0, (0, 1, 0): 17, (1, 0, 0): 17, (2**32 - 1, 99, 9536): 8}


def test_draws_are_these_numbers_on_every_machine():
    # SeedSequence([25, seed, draw, clip]), the first 64 bits, modulo 25.
    drawn = [random_frame(25, seed, draw, clip) for seed, draw, clip in DRAWS]
    assert drawn == list(DRAWS.values())


def test_every_frame_is_drawn_equally_often():
    counts = np.bincount(
        [random_frame(5, 3, draw, clip) for draw in range(40) for clip in range(50)]
    )
    # 2,000 draws, 400 a frame expected; 4 degrees of freedom, 18.5 is exceeded once in 1,000.
    assert len(counts) == 5 and np.sum((counts - 400) ** 2 / 400) < 18.5


def test_an_epoch_is_one_frame_of_every_clip():
    rows = clip_rows(clip_ids(FILES))
    seen = [epoch_rows(rows, seed=1, epoch=epoch) for epoch in range(30)]
    for drawn in seen:
        assert drawn[0] in (0, 1) and drawn[1] == 2 and drawn[2] in (3, 4, 5)
    assert {int(row) for drawn in seen for row in drawn} == {0, 1, 2, 3, 4, 5}
    np.testing.assert_array_equal(seen[7], epoch_rows(rows, seed=1, epoch=7))


def test_grain_sees_the_same_rows_through_shuffle_batch_and_resume():
    rows = np.split(np.arange(70), 7)  # 7 clips of 10 frames
    dataset = (
        grain.MapDataset.range(len(rows))
        .map_with_index(row_drawer(rows, seed=4))
        .shuffle(seed=4)
        .batch(3, drop_remainder=False, batch_fn=np.array)
        .repeat()
    )
    for epoch in (0, 1, 5):
        batches = [dataset[3 * epoch + step] for step in range(3)]
        assert [len(batch) for batch in batches] == [3, 3, 1]
        np.testing.assert_array_equal(np.sort(np.concatenate(batches)), epoch_rows(rows, 4, epoch))
    straight, resumed = (iter(dataset.to_iter_dataset()) for _ in range(2))
    for _ in range(4):
        next(straight)
    resumed.set_state(straight.get_state())
    for _ in range(4):
        np.testing.assert_array_equal(next(straight), next(resumed))


def test_mean_of_frames():
    probabilities = np.array([[0.5, 0.5], [0.1, 0.9], [0.7, 0.3]], np.float32)
    mean = mean_of_frames(probabilities, np.array([0, 0, 1], np.int32))
    np.testing.assert_allclose(mean, [[0.3, 0.7], [0.7, 0.3]], rtol=1e-6)

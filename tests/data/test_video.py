"""Positions by hand; videos written here, whose frames are told apart by their gray."""

import sys

import numpy as np
import pytest

from gtn_jax.data.video import frame_positions, read_frames


def write_video(path, frames, codec="mpeg4", size=(32, 24)):
    """A gray video; frame i has the level 5 * i."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), 5 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def test_positions():
    assert frame_positions(1).tolist() == [0]
    assert frame_positions(3).tolist() == [0, 1, 2]
    assert frame_positions(25).tolist() == list(range(25))
    assert frame_positions(49).tolist() == list(range(0, 49, 2))
    # 28 / 24 = 1.1667 apart: 0, 1.17, 2.33, 3.5 (to even), 4.67, ...
    assert frame_positions(29).tolist()[:6] == [0, 1, 2, 4, 5, 6]
    for frames in (24, 26, 31, 186, 1776):
        positions = frame_positions(frames)
        assert len(positions) == min(frames, 25) and positions[-1] == frames - 1


def test_frames_of_a_video(tmp_path):
    path = tmp_path / "clip.avi"
    write_video(path, 49)
    frames = read_frames(path)
    assert [position for position, _ in frames] == list(range(0, 49, 2))
    for position, pixels in frames:
        assert pixels.shape == (24, 32, 3) and pixels.dtype == np.uint8
        assert abs(float(pixels.mean()) - 5 * position) < 4  # the codec loses a little
    write_video(path, 3)
    assert [position for position, _ in read_frames(path)] == [0, 1, 2]


def test_what_counts_is_what_was_decoded(tmp_path, monkeypatch):
    path = tmp_path / "clip.avi"
    write_video(path, 49)
    right = [position for position, _ in read_frames(path)]
    monkeypatch.setattr("gtn_jax.data.video._packets", lambda av, path: 60)
    assert [position for position, _ in read_frames(path)] == right


@pytest.mark.parametrize("content", [b"", b"not a video", b"RIFF\x00\x00\x00\x00AVI LIST"])
def test_broken_video_is_named(tmp_path, content):
    pytest.importorskip("av")
    path = tmp_path / "clip.avi"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"clip.avi: not a readable video \("):
        read_frames(path)


def test_without_pyav_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"needs PyAV: pip install 'gtn_jax\[video\]'"):
        read_frames(tmp_path / "clip.avi")

"""UCF101's genuine lists, and small ones with every mistake that a list can hold."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gtn_jax.data.builders.encode import encode
from gtn_jax.data.builders.ucf101 import Frames, Ucf101, find_contents, read_classes, read_clips
from gtn_jax.data.clips import clip_ids
from gtn_jax.data.sources import open_splits, prepare

LISTS = Path(__file__).parents[4] / "shared" / "annotations" / "UCF101"


@pytest.fixture
def source(tmp_path):
    """Three clips of two classes as extracted frames, 30 + 4 + 1 of them; lists with CRLF."""
    root = tmp_path / "UCF-101"
    (root / "ucfTrainTestlist").mkdir(parents=True)
    lists = {
        "classInd": ["1 Archery", "2 HandstandPushups"],
        "trainlist01": ["Archery/v_Archery_g08_c01.avi 1", f"{HANDSTAND}_g08_c02.avi 2"],
        "testlist01": [f"{HANDSTAND}_g01_c01.avi", ""],
    }
    for name, lines in lists.items():
        write(root, name, lines)
    frames(root / "Archery" / "v_Archery_g08_c01", 30)
    # One case in the list, another on disk, and no folder of the class.
    frames(root / "v_HandstandPushups_g08_c02", 4)
    frames(root / "v_HandstandPushups_g01_c01", 1)
    return root


HANDSTAND = "HandstandPushups/v_HandStandPushups"


def write(root, name, lines):
    path = root / "ucfTrainTestlist" / f"{name}.txt"
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())


def frames(folder, count):
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(folder / f"image_{number:04d}.jpg")
    (folder / "flow_x_0001.jpg").write_bytes(b"optical flow, no frame")


def test_extracted_frames(source):
    assert read_classes(source / "ucfTrainTestlist" / "classInd.txt") == [
        "Archery",
        "HandstandPushups",
    ]
    clips, note = read_clips(source, "1")
    assert note == ""
    examples = {split: list(Frames(part)) for split, part in clips.items()}
    assert {split: len(part) for split, part in examples.items()} == {"train": 29, "test": 1}
    train = examples["train"]
    # round(29 / 24 * i) + 1: 1, 2.2, 3.4, 4.6, ...
    assert [example[0] for example in train[:4]] == [
        f"Archery/v_Archery_g08_c01/image_{number:04d}" for number in (1, 2, 3, 5)
    ]
    assert train[24][0] == "Archery/v_Archery_g08_c01/image_0030"
    assert train[25][0] == f"{HANDSTAND}_g08_c02/image_0001"
    assert [example[2] for example in train] == [0] * 25 + [1] * 4
    assert np.asarray(Image.open(train[3][1])).shape == (6, 8, 3)
    assert clip_ids([example[0] for example in train]).tolist() == [0] * 25 + [1] * 4


def test_videos_win_over_frames_and_lists_may_lie_beside(source):
    av = pytest.importorskip("av")
    path = source / "Archery" / "v_Archery_g08_c01.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for _ in range(26):
            pixels = np.full((24, 32, 3), 77, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    (source / "ucfTrainTestlist").rename(source.parent / "ucfTrainTestlist")
    train = list(Frames(read_clips(source, "1")[0]["train"]))
    assert [example[0][-4:] for example in train[:3]] == ["0001", "0002", "0003"]
    assert train[24][0] == "Archery/v_Archery_g08_c01/image_0026"
    pixels = train[24][1]
    assert isinstance(pixels, np.ndarray) and pixels.shape == (24, 32, 3)
    assert abs(float(pixels.mean()) - 77) < 4


A, H = "Archery/v_Archery_g08_c01.avi 1", f"{HANDSTAND}_g01_c01.avi"


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([A, A], [H], r"trainlist01.txt:2: Archery/v_Archery_g08_c01 is at .*trainlist01.txt:1 al"),
        ([A], [H, A[:-2]], r"testlist01.txt:2: Archery/v_\w+ is at .*trainlist01.txt:1 already"),
        ([A, "Archery/v_Archery_g09_c01.avi 1"], [H], r"trainlist01.txt:2: no Archery/v_\w+g09_c0"),
        ([A, "", "Rowing/v_Rowing_g08_c01.avi 3"], [H], r"trainlist01.txt:3: class 'Rowing' is no"),
        ([A[:-1] + "2"], [H], r"trainlist01.txt:1: class 2, but Archery is number 1 in classInd"),
        ([A, "v_Archery_g08_c01.avi 1"], [H], r"trainlist01.txt:2: 'v_Arch.*', expected CLASS/CL"),
    ],
)
def test_mistakes_are_named_with_file_and_line(source, train, test, message):
    write(source, "trainlist01", train)
    write(source, "testlist01", test)
    with pytest.raises(ValueError, match=message):
        read_clips(source, "1")


def test_partial_goes_on_without_what_lacks(source):
    write(source, "trainlist01", [A, "Archery/v_Archery_g09_c01.avi 1", A])
    with pytest.raises(ValueError, match=r"and 1 more such lines\)\nadd .*allow_partial=True"):
        read_clips(source, "1")
    clips, note = read_clips(source, "1", allow_partial=True)
    assert note.startswith("2 lines of the lists are left out: ") and ":2: no Archery/" in note
    assert [clip.name for clip in clips["train"]] == ["Archery/v_Archery_g08_c01"]
    assert len(clips["test"]) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1 Archery", "3 Rowing"], r"classInd.txt:2: '3 Rowing', expected '2 CLASS'"),
        (["1 Archery", "2 Archery"], r"classInd.txt:2: class Archery is there twice"),
    ],
)
def test_classes_count_from_one(source, lines, message):
    write(source, "classInd", lines)
    with pytest.raises(ValueError, match=message):
        read_clips(source, "1")


def test_sources_that_do_not_work(source, tmp_path):
    archive = tmp_path / "UCF101.rar"
    archive.write_bytes(b"Rar!")
    with pytest.raises(ValueError, match=r"UCF101.rar is not unpacked here; unpack it \(unrar x"):
        read_clips(archive, "1")
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        read_clips(tmp_path / "nowhere", "1")
    with pytest.raises(ValueError, match=r"no trainlist02.txt in .*ucfTrainTestlist"):
        read_clips(source, "2")
    frames(source / "again" / "v_Archery_g08_c01", 2)
    with pytest.raises(ValueError, match="v_Archery_g08_c01 has the same name; remove one"):
        find_contents(source)


def test_a_link_may_not_lead_out(source, tmp_path):
    outside = tmp_path / "secret.avi"
    outside.write_bytes(b"")
    (source / "v_Archery_g25_c01.avi").symlink_to(outside)
    with pytest.raises(ValueError, match=r"v_Archery_g25_c01.avi: a link that leads out of"):
        find_contents(source)


@pytest.mark.parametrize("target", ["secret.jpg", "nowhere.jpg"])
def test_a_frame_may_not_lead_out_either(source, tmp_path, target):
    Image.new("RGB", (8, 6)).save(tmp_path / "secret.jpg")
    frame = source / "Archery" / "v_Archery_g08_c01" / "image_0001.jpg"
    frame.unlink()
    frame.symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match=r"image_0001.jpg: a link that leads out of .*UCF-101"):
        read_clips(source, "1", allow_partial=True)
    # A link that stays inside is a file like others.
    frame.unlink()
    frame.symlink_to("image_0002.jpg")
    assert len(read_clips(source, "1")[0]["train"]) == 2


def test_archive_with_lists_beside_it(source, tmp_path):
    """The lists are downloaded apart; errors name the archive, not where it was unpacked."""
    lists = (source / "ucfTrainTestlist").rename(tmp_path / "ucfTrainTestlist")
    archive, data_dir = tmp_path / "frames.tar", str(tmp_path / "data")
    with tarfile.open(archive, "w") as file:
        file.add(source, "UCF-101")
    shutil.rmtree(source)
    counts = prepare("ucf101/1", data_dir, archive, 8, allow_partial=True)
    assert counts == {"train": 29, "test": 1}
    (lists / "trainlist01.txt").write_text("Archery/v_Archery_g09_c01.avi 1")
    with pytest.raises(ValueError, match=rf"no Archery/v_Archery_g09_c01.avi in {archive}, and"):
        prepare("ucf101/1", data_dir, archive, 9)
    (lists / "trainlist01.txt").unlink()
    with pytest.raises(ValueError, match=rf"no trainlist01.txt in {archive}, .* beside it") as bad:
        prepare("ucf101/1", data_dir, archive, 9)
    assert "incomplete" not in str(bad.value)


def test_part_of_it_stays_a_part(source, tmp_path):
    """Clips are counted, not the images that are stored: the second `prepare` has to know."""
    data_dir = str(tmp_path / "data")
    prepare("ucf101/1", data_dir, source, 8, allow_partial=True)
    with pytest.raises(ValueError, match=r"holds .*'train': 2.* clips, not the published data set"):
        prepare("ucf101/1", data_dir, source, 8)
    assert prepare("ucf101/1", data_dir, source, 8, allow_partial=True)["train"] == 29
    said = []
    open_splits("ucf101/1", data_dir, 8, say=said.append)
    assert said == ["ucf101/1: not the published data set (prepared with allow_partial)"]


def test_prepared(source, tmp_path):
    """Counted in clips, stored at one size, refused where clips lack."""

    def prepare(**arguments):
        said = []
        builder = Ucf101(
            source=source,
            variant="1",
            short_side=16,
            data_dir=tmp_path,
            say=said.append,
            **arguments,
        )
        builder.download_and_prepare()
        return builder, said

    with pytest.raises(ValueError, match=r"train 2 of 9,537, test 1 of 3,783 clips"):
        prepare()
    builder, said = prepare(allow_partial=True)
    assert said[0].startswith("ucf101/1: train 2 of 9,537, test 1 of 3,783 clips: not the publish")
    assert {name: part.num_examples for name, part in builder.info.splits.items()} == {
        "train": 29,
        "test": 1,
    }
    assert builder.info.features["label"].names == ["Archery", "HandstandPushups"]
    example = builder.as_data_source("train")[25]
    assert example["file"].decode() == f"{HANDSTAND}_g08_c02/image_0001"
    assert example["label"] == 1 and example["image"].shape == (16, 21, 3)


def test_a_broken_video_is_one_error_in_its_turn(source):
    (source / "v_HandStandPushups_g08_c02.avi").write_bytes(b"no video")
    *_, last = Frames(read_clips(source, "1")[0]["train"])
    assert last.file == f"{HANDSTAND}_g08_c02/image_0001"
    with pytest.raises(ValueError, match="v_HandStandPushups_g08_c02.avi: "):
        encode(last.content, last.file, 32)


@pytest.mark.skipif(not LISTS.is_dir(), reason="the genuine lists are not part of the project")
def test_the_genuine_lists(tmp_path):
    """Placeholders for all 13,320 clips, under the archive's names: lists agree, as counted."""
    for path in LISTS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    names = {
        line.split()[0]
        for split in ("train", "test")
        for line in (LISTS / f"{split}list01.txt").read_text().splitlines()
    }
    assert len(names) == 13320
    for name in names:
        path = tmp_path / "UCF-101" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for variant in ("1", "2", "3"):
        clips, _ = read_clips(tmp_path, variant)
        counts = {split: len(part) for split, part in clips.items()}
        assert counts == Ucf101.known_counts[variant]
        assert {clip.label for part in clips.values() for clip in part} == set(range(101))

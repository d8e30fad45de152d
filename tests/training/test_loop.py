"""Whole runs of the tiny model: resume is bitwise, folders hold what they should."""

import io
import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from gtn_jax.arrays import Batch
from gtn_jax.config import Config, override
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import whole
from gtn_jax.devices import data_mesh
from gtn_jax.inference.restore import evaluate_run
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.training import image_store, loop, setup, start
from gtn_jax.training.setup import build_programs
from gtn_jax.training.state import create_state
from tests.plain_networks import build_model


class Stopped(Exception):
    """Stands for whatever ends a process."""


def stop_before_step(monkeypatch, limit: int) -> None:
    """Let the batch that step `limit` needs never come."""
    original = loop.put_batch
    taken = iter(range(10**6))

    def put_batch(batch, mesh):
        if next(taken) == limit:
            raise Stopped
        return original(batch, mesh)

    monkeypatch.setattr(loop, "put_batch", put_batch)


def timeless(row: dict) -> dict:
    return {k: v for k, v in row.items() if "seconds" not in k and "per_second" not in k}


def final_state(config, workdir):
    """Every leaf of the last checkpoint, and the data position."""
    template = setup.setup_of(config, tuple("0123456789"), devices=1).template()
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        state, position = checkpoints.restore(template, checkpoints.latest_step())
    return jax.tree.leaves(state.replace(key=jax.random.key_data(state.key))), position["batches"]


def flip_a_bit(checkpoints: Path) -> str:
    """In the largest file of the latest step; what will be said of it."""
    *_, before, latest = sorted(int(path.name) for path in checkpoints.iterdir())
    folder = checkpoints / str(latest)
    path = max(folder.rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    said = f"{path.relative_to(folder)} has changed on disk (its digest differs)"
    return f"note    checkpoint {latest}: {said}; using step {before}\n"


CROPS = {
    "data.random_shift_pixels": 0,
    "data.random_resized_crop": True,
    "data.resize_size": 20,
}
SHORT = {"training.epochs": 2}
ALWAYS_SAVED = {"training.checkpoint_every_seconds": 1e-3}
CACHED = {"data.feature_cache_views": 2, "training.freeze_epochs": 3}
AVERAGED = {"training.ema_decay": 0.9, "training.label_smoothing": 0.1}
LONG = pytest.mark.release


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """straight(config): the folder and the summary of the run, made once."""
    made = {}

    def straight(config):
        if config not in made:
            folder = tmp_path_factory.mktemp("straight")
            made[config] = folder, loop.run(config, folder, quiet=True, devices=1)
        return made[config]

    return straight


@pytest.mark.parametrize(
    ("stop_at", "values", "harm"),
    [
        (7, SHORT, True),
        (9, SHORT, False),
        pytest.param(7, {}, True, marks=pytest.mark.slow),
        pytest.param(8, CACHED | CROPS | AVERAGED, False, marks=pytest.mark.slow),
        pytest.param(10, CROPS | {"training.mixup_alpha": 0.4}, False, marks=LONG),
        pytest.param(18, CACHED, False, marks=LONG),
    ],
)
def test_stop_and_resume_is_bitwise(
    tiny_config, tmp_path, monkeypatch, capsys, straight, stop_at, values, harm
):
    """10 or 20 steps straight = stopped somewhere, then resumed; freezing ends at step 5, or 15.

    Also where the last step was harmed on the disk, and the one before it is resumed from.
    """
    tiny_config = override(tiny_config, values | ALWAYS_SAVED)
    folder, summary = straight(tiny_config)
    with monkeypatch.context() as patched:
        stop_before_step(patched, stop_at)
        with pytest.raises(Stopped):
            loop.run(tiny_config, tmp_path / "resumed", quiet=True, devices=1)
    stopped_at = max(int(p.name) for p in (tmp_path / "resumed/checkpoints").iterdir()
                     if p.name.isdigit())  # fmt: skip
    assert 0 < stopped_at <= stop_at
    line = ""
    if harm:
        line = flip_a_bit(tmp_path / "resumed/checkpoints")
    resumed = loop.run(tiny_config, tmp_path / "resumed", quiet=True, devices=1)

    assert capsys.readouterr().err == line
    assert timeless(resumed) == timeless(summary)
    folders = folder, tmp_path / "resumed"
    rows = [list(map(timeless, RunFolder(each).rows())) for each in folders]
    assert rows[0] == rows[1]
    steps = 5 * tiny_config.training.epochs
    assert [row["step"] for row in rows[0] if row["split"] == "train"] == [*range(1, steps + 1)]
    (leaves, position), (again, position_again) = (
        final_state(tiny_config, each) for each in folders
    )
    assert position == position_again
    for a, b in zip(leaves, again, strict=True):
        np.testing.assert_array_equal(a, b)


KEEP = {
    "data.batch_size": 12,
    "data.last_batch": "keep",
    "data.small_image_epochs": 1,
    "data.small_image_size": 8,
}


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize(
    ("values", "devices"),
    [
        (CROPS | {"training.epochs": 1}, 1),
        pytest.param(CROPS | {"training.freeze_epochs": 0}, 1, marks=LONG),
        # 40 images in batches of 12 leave 4, which three devices do not divide.
        (CROPS | KEEP | {"data.small_image_epochs": 0, "training.epochs": 1}, 3),
        pytest.param(CROPS | KEEP, 3, marks=LONG),
        pytest.param(KEEP, 1, marks=LONG),
        pytest.param(CROPS | CACHED, 4, marks=LONG),
    ],
)
def test_where_images_are_kept_changes_no_bit(tiny_config, tmp_path, capsys, values, devices):
    """Two programs, whose bits agree as users compile them; the images: test_resident.py."""
    ends = {}
    for store in ("device", "host"):
        config = override(tiny_config, {**values, "data.image_store": store})
        loop.run(config, tmp_path / store, devices=devices)
        rows = list(map(timeless, RunFolder(tmp_path / store).rows()))
        ends[store] = rows, *final_state(config, tmp_path / store)
    output = capsys.readouterr().out
    assert "images  on the device: " in output and "images  in memory: " in output
    (rows, leaves, position), (other_rows, other_leaves, other_position) = ends.values()
    assert rows == other_rows and position == other_position
    for a, b in zip(leaves, other_leaves, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_folder_that_vanishes_ends_the_run(tiny_config, tmp_path, monkeypatch):
    """Between two saves; tests/faults has it in one, of which Orbax says more than pytest takes."""
    original, steps = loop.put_batch, iter(range(100))
    save = Checkpoints.save

    def save_and_wait(self, *arguments):
        save(self, *arguments)
        self.wait()

    def put_batch(batch, mesh):
        if next(steps) == 2:
            (tmp_path / "run").rename(tmp_path / "gone")
        return original(batch, mesh)

    monkeypatch.setattr(loop, "put_batch", put_batch)
    monkeypatch.setattr(Checkpoints, "save", save_and_wait)
    tiny_config = override(tiny_config, ALWAYS_SAVED)
    with pytest.raises(ValueError, match="run(/checkpoints)? has vanished") as error:
        loop.run(tiny_config, tmp_path / "run", quiet=True, devices=1)
    assert len(str(error.value).splitlines()) <= 3
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_to_is_refused_before_any_work(tiny_config, monkeypatch):
    monkeypatch.setattr(setup, "open_data", pytest.fail)
    with pytest.raises(ValueError, match="/proc/run: nothing can be written to /proc"):
        loop.run(tiny_config, Path("/proc/run"), quiet=True)


def test_finished_run_is_left_alone(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    summary = RunFolder(run).summary()
    assert summary is not None
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    assert loop.run(RunFolder(run).config(), run, quiet=True) == summary
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints",
        "classes.json",
        "config.json",
        "data.json",
        "digests.json",
        "metrics.jsonl",
        "predictions.npz",
        "preprocessing.json",
        "starts.jsonl",
        "summary.json",
    ]
    said = RunFolder(run).predictions("test")
    assert said is not None and len(set(said.files)) == len(said.labels) == 500
    assert np.mean(said.predicted == said.labels) == summary["test_accuracy"]
    loss = -np.mean(np.log(said.label_probability.astype(np.float64)))
    assert loss == pytest.approx(summary["test_loss"], rel=1e-5)
    assert json.loads((run / "classes.json").read_text()) == list("0123456789")
    assert summary["test_images"] == 500
    assert summary["validation_images"] == 300


def test_another_config_is_refused_before_any_work(tiny_config, tmp_path):
    RunFolder(tmp_path).start(tiny_config, ("0",), Preprocessing((0.5,) * 3, (0.5,) * 3))
    with pytest.raises(ValueError, match="model.gate: 'sigmoid' -> 'none'"):
        loop.run(override(tiny_config, {"model.gate": "none"}), tmp_path)


@pytest.mark.slow
def test_partial_batches_small_images_and_every_mode(tiny_config, tmp_path, capsys):
    """The other half of the switches, on 4 devices: 40 images in batches of 12 leave 4."""
    config = override(
        tiny_config,
        {
            "data.batch_size": 12,
            "data.last_batch": "keep",
            "data.small_image_epochs": 1,
            "data.small_image_size": 8,
            "training.freeze_mode": "zero_lr",
            "training.frozen_batch_norm": "batch",
            "training.select": "last",
            "training.epochs": 2,
            "model.gate": "mlp",
            "model.compute_dtype": "bfloat16",
        },
    )
    # Flax's own BatchNorm mixes bfloat16 and float32.
    with jax.numpy_dtype_promotion("standard"):
        summary = loop.run(config, tmp_path, devices=4)
    assert summary["steps"] == summary["selected_step"] == 8
    output = capsys.readouterr().out
    assert "device  4 x cpu" in output
    assert "train 40" in output
    assert "epoch 2/2  validation accuracy" in output


def test_fewer_images_than_a_batch_shrinks_it(tiny_config, tmp_path, capsys):
    config = override(
        tiny_config,
        {"data.batch_size": 256, "data.train_images_per_class": 1, "training.epochs": 1},
    )
    assert loop.run(config, tmp_path, devices=4)["steps"] == 1
    assert "batch of 8 images: there are only 10" in capsys.readouterr().out


@pytest.mark.slow
def test_another_batch_size_than_the_position_was_saved_with(tiny_config, tmp_path, monkeypatch):
    """10 images are batches of 8 on 4 devices, of 10 on one, though the config is the same."""
    config = override(tiny_config, {"data.train_images_per_class": 1, "data.batch_size": 256})
    with monkeypatch.context() as patched:
        stop_before_step(patched, 2)
        with pytest.raises(Stopped):
            loop.run(config, tmp_path, quiet=True, devices=4)
    with pytest.raises(ValueError, match="data.batch_size: 8 -> 10") as error:
        loop.run(config, tmp_path, quiet=True, devices=1)
    assert re.search(r"checkpoints/\d: its data position", str(error.value))


def test_cached_features_are_told_and_timed(tiny_config, tmp_path, capsys):
    """Whatever the number of devices; and a run of frozen epochs only needs no other step."""
    config = override(tiny_config, CACHED | {"training.epochs": 1, "training.freeze_epochs": 1})
    summary = loop.run(config, tmp_path, devices=4)
    # 2 views of 40 images: 16 features of the last stage and 8 of the one before.
    found = re.search(
        r"cache   features of 40 images, 2 views each: (\d+\.\d) s, 0\.0 MiB",
        capsys.readouterr().out,
    )
    assert found is not None
    assert float(found[1]) == pytest.approx(summary["cache_seconds"], abs=0.06)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model.backbone", "resnet5", "unknown backbone 'resnet5'; did you mean resnet"),
        ("model.gate", "sigmoyd", "unknown gate 'sigmoyd'; did you mean sigmoid"),
        ("model.stages", 3, "model.stages: tiny has 2 stages, 3 asked for"),
        ("model.weights", "nowhere.safetensors", "nowhere.safetensors"),
        ("data.name", "digit", "unknown data set 'digit'; did you mean digits"),
        ("data.batch_size", 10, "10 images do not divide over 4 devices"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_and_before_images_are_decoded(
    tiny_config, tmp_path, monkeypatch, field, value, message
):
    workdir = tmp_path / "run"
    monkeypatch.setattr(start, "load_images", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ValueError, match=message) as error:
        loop.run(override(tiny_config, {field: value}), workdir, quiet=True, devices=4)
    assert len(str(error.value).splitlines()) <= 3
    assert not workdir.exists()


def test_mesh_has_all_devices_by_default():
    assert data_mesh().size == 4
    assert data_mesh(2).size == 2


def test_data_that_cannot_be_trained_on():
    config = Config()
    one = whole(Split([], ("cat",), "train"))
    with pytest.raises(ValueError, match=r"digits has one class \(cat\); bring at least two"):
        setup.check_parts(config, {"train": one, "validation": one})
    no_validation = {"train": whole(Split([], ("cat", "dog"), "train"))}
    videos = whole(Split([], ("jump", "run"), "train", clips=True))
    cached = override(config, {"data.feature_cache_views": 1, "training.freeze_epochs": 1})
    with pytest.raises(ValueError, match="data.feature_cache_views: digits holds videos"):
        setup.check_parts(cached, {"train": videos, "validation": videos})
    theirs = override(config, {"training.select": "test_best"})
    with pytest.raises(ValueError, match="training.select: digits has no test split"):
        setup.check_parts(theirs, no_validation)


class Frames:
    """A data source of images in memory, each of one color, 12 pixels high and 20 wide."""

    def __init__(self, files, labels):
        self.examples = []
        for number, (file, label) in enumerate(zip(files, labels, strict=True)):
            encoded = io.BytesIO()
            Image.new("RGB", (20, 12), (90 * label, 11 * number % 256, 0)).save(encoded, "PNG")
            self.examples.append(
                {"image": encoded.getvalue(), "label": label, "file": file.encode()}
            )

    def __len__(self):
        return len(self.examples)

    def __getitems__(self, positions):
        return [self.examples[position] for position in positions]


def test_training_crops_whole_images_and_evaluation_does_not(tiny_config):
    config = override(tiny_config, {**CROPS, "data.resize_size": 16})
    split = Split(Frames("abcdefgh", [0, 1] * 4), ("x", "y"), "train")
    images = image_store.load_images(
        config, {"train": whole(split), "validation": whole(split)}, data_mesh(1)
    )
    assert images["train"].gather(np.arange(2)).images.shape == (2, 16, 26, 3)
    assert images["validation"].gather(np.arange(2)).images.shape == (2, 16, 16, 3)


def test_the_step_draws_crops_where_the_config_says_so(tiny_config):
    """Without dropout and flips, only crops make one batch give different losses."""
    still = {"data.random_flip": False, "model.gate": "none", "model.classifier_dropout": 0.0,
             "model.aux_weight": 0.0}  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (8, 20, 26, 3), dtype=np.uint8)
    for changes, count in (({"data.random_shift_pixels": 0}, 1), (CROPS, 3)):
        config = override(tiny_config, {**still, **changes})
        model, variables, preprocessing = build_model(config, 10)
        programs = build_programs(config, model, preprocessing, 5)
        step = programs.train_step(True, False)  # the backbone frozen: least to compile
        images = pixels if config.data.random_resized_crop else pixels[:, :16, :16]
        batch = Batch(images, np.arange(8, dtype=np.int32), np.ones(8, np.float32))
        losses = set()
        for number in range(3):
            state = create_state(variables, programs.optimizer, 0.0, seed=0)
            # The key of a step is folded from its number; a copy, as steps donate their state.
            state = jax.tree.map(lambda leaf: leaf.copy(), state.replace(step=np.int32(number)))
            losses.add(float(step(state, batch)[1]["loss"]))
        assert len(losses) == count


def test_videos_train_on_a_frame_a_clip_and_answer_for_clips(tiny_config, tmp_path, monkeypatch):
    def split(name, clips):
        files = [
            f"{c}/v_{c}_g{g:02d}_c01/{f}" for c in "ab" for g in range(clips) for f in range(3)
        ]
        labels = [int(file[0] == "b") for file in files]
        return Split(Frames(files, labels), ("a", "b"), name, clips=True)

    splits = {"train": split("train", 10), "test": split("test", 4)}
    monkeypatch.setattr(setup, "open_data", lambda data: splits)
    config = override(tiny_config, {"data.train_images_per_class": None, "training.epochs": 1})
    summary = loop.run(config, tmp_path / "run", quiet=True, devices=1)
    # 20 clips, one of 10 groups a class held out: 18 clips, 2 batches of 8 an epoch.
    assert summary["steps"] == 2
    assert (summary["test_images"], summary["test_clips"]) == (24, 8)
    assert (summary["validation_images"], summary["validation_clips"]) == (6, 2)
    assert summary["test_accuracy"] == summary["test_clip_accuracy"]


def test_a_folder_that_changes_is_refused(tiny_config, tmp_path, monkeypatch):
    """Another photograph moves others between train and test: neither resumed nor evaluated."""
    folder = tmp_path / "photos"
    for name, color in (("cat", 40), ("dog", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGB", (20, 24), (color, 10 * number, 0))
            image.save(folder / name / f"{number}.png")
    config = override(
        tiny_config,
        {
            "data.name": f"folder:{folder}",
            "data.data_dir": str(tmp_path / "data"),
            "data.train_images_per_class": None,
            "training.epochs": 1,
        },
    )
    summary = loop.run(config, tmp_path / "run", quiet=True, devices=1)
    assert (summary["test_images"], summary["validation_images"]) == (4, 2)
    assert evaluate_run(tmp_path / "run", "test")["accuracy"] == summary["test_accuracy"]
    with monkeypatch.context() as patched:
        stop_before_step(patched, 0)
        with pytest.raises(Stopped):
            loop.run(config, tmp_path / "stopped", quiet=True, devices=1)
    Image.new("RGB", (20, 24)).save(folder / "cat/new.png")
    with pytest.raises(ValueError, match=r"changed since .*train: 14 images then, 15 now"):
        loop.run(config, tmp_path / "stopped", quiet=True, devices=1)
    with pytest.raises(ValueError, match=r"run: the data set has changed since this run began"):
        evaluate_run(tmp_path / "run", "train")

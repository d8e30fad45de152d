"""Every shipped experiment is a CONFIG of this version; errors name the file."""

import pytest

from gtn_jax.config import Config
from gtn_jax.config.experiment import load_experiment, shipped_experiments, shipped_folder
from gtn_jax.config.presets import PRESETS, clean, official
from gtn_jax.data.sources import DATASETS
from gtn_jax.models.backbones import BACKBONES
from gtn_jax.models.gate import GATES
from gtn_jax.weights.registry import HUB, WEIGHTS


@pytest.mark.parametrize("name", shipped_experiments())
def test_shipped(name):
    config = load_experiment(name)
    assert config.data.name.partition("/")[0] in DATASETS or config.data.name == "folder:"
    assert config.model.backbone == "auto" or config.model.backbone in BACKBONES
    assert config.model.gate in GATES
    weights = config.model.weights
    assert weights is None or weights in WEIGHTS or weights.removeprefix("hf:") in HUB


TASKS = {
    "cub200": "cub200",
    "dtd": "dtd/1",
    "minc2500": "minc2500/1",
    "mit67": "mit67",
    "ucf101": "ucf101/1",
    "fashionai": "fashionai/collar_design",
}


@pytest.mark.parametrize(("name", "data"), TASKS.items())
def test_tasks_of_the_paper(name, data):
    ours, theirs = clean(load_experiment(name)), official(load_experiment(name))
    for config in (ours, theirs):
        section = config.data
        assert section.name == data
        assert (section.image_size, section.resize_size, section.batch_size) == (224, 256, 64)
        assert section.random_resized_crop
        assert section.random_flip == ("auto" if config is ours else True)
        assert section.random_shift_pixels == 0 and section.small_image_epochs == 0
        assert config.model.backbone == "resnet50"
        assert config.model.weights == "hf:timm/resnet50.tv_in1k"
        assert (config.model.gate, config.model.aux_weight) == ("sigmoid", 0.2)
    assert ours == load_experiment(name)
    assert (theirs.optimizer.learning_rate, theirs.training.epochs) == (1e-2, 100)
    assert theirs.training.freeze_epochs == 21
    assert (ours.training.head_start, theirs.training.head_start) == ("solved", "random")
    assert (ours.optimizer.name, theirs.optimizer.name) == ("adamw", "sgd")
    assert (ours.optimizer.schedule, theirs.optimizer.schedule) == ("cosine", "step")
    assert (ours.training.freeze_mode, theirs.training.freeze_mode) == ("no_grad", "zero_lr")
    assert (ours.training.select, theirs.training.select) == ("val", "test_best")
    assert (ours.data.last_batch, theirs.data.last_batch) == ("drop", "keep")
    assert (ours.data.validation_fraction, theirs.data.validation_fraction) == (0.1, 0.0)
    assert (ours.data.video_eval, theirs.data.video_eval) == ("mean_of_25", "random_frame")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", shipped_experiments())
def test_every_experiment_takes_every_preset(name, preset):
    before = load_experiment(name)
    after = PRESETS[preset](before)
    kept = ("name", "image_size", "train_images_per_class")
    for field in kept:
        assert getattr(after.data, field) == getattr(before.data, field)
    assert after.model.weights == before.model.weights


def test_headers_of_the_tasks():
    """Each says how to prepare and train, and that nobody has; no figure of the paper."""
    for name, path in shipped_experiments().items():
        if name in TASKS:
            header = path.read_text().split('"""')[1]
            assert f"    gtn prepare {TASKS[name]} --source " in header
            for preset in ("official", "clean"):
                assert f"    gtn train {name} --preset {preset} --workdir runs/{name}" in header
            assert "Not run here, as" in header and "accuracy of" not in header


def test_a_script_is_no_experiment():
    """experiments/peers.py lies beside them and needs packages that are not ours."""
    files = {path.stem for path in shipped_folder().glob("*.py")}
    assert files - set(shipped_experiments()) == {"peers"}
    with pytest.raises(ValueError, match="unknown experiment 'peers'"):
        load_experiment("peers")


def test_unknown_name_offers_the_nearest():
    with pytest.raises(ValueError, match="unknown experiment 'quikstart'; did you mean quickstart"):
        load_experiment("quikstart")


def test_own_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from gtn_jax.config import Config\nCONFIG = Config(seed=5)\n")
    assert load_experiment(str(path)) == Config(seed=5)
    path.write_text("CONFIG = 3\n")
    with pytest.raises(ValueError, match=r"mine.py: holds no CONFIG"):
        load_experiment(str(path))
    with pytest.raises(ValueError, match=r"other.py: no such experiment file"):
        load_experiment(str(tmp_path / "other.py"))
    path.write_text("from gtn_jax.config import Config\nCONFIG = Config(sed=5)\n")
    with pytest.raises(ValueError, match="mine.py: TypeError: .*sed"):
        load_experiment(str(path))

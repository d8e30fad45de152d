"""The authors' quirks as literal numbers, and that `clean` takes each one back."""

import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.cli.main import main
from gtn_jax.config import Config, DataConfig, override, presets
from gtn_jax.config.presets import clean, official
from gtn_jax.config.run import field_names
from gtn_jax.config.serialization import differences, flatten
from gtn_jax.data.pipeline import steps_per_epoch
from gtn_jax.training.optimizer import (
    build_optimizer,
    current_rates,
    relative_schedule,
    with_peak_rates,
)


def rates(config: Config, steps: int, epochs: list[int]) -> dict[str, list[float]]:
    """Rate of each group at the first step of these epochs."""
    section = config.optimizer
    schedule = relative_schedule(
        section.schedule,
        steps,
        config.training.epoch_count,
        section.warmup_epochs,
        section.boundaries_epochs,
        section.decay_factor,
    )
    optimizer = build_optimizer(
        section.momentum,
        section.weight_decay,
        schedule,
        config.training.freeze_epochs * steps,
    )
    params = {"backbone": {"w": jnp.zeros(1)}, "classifier": {"w": jnp.zeros(1)}}
    peaks = dict(zip(("backbone", "head"), map(jnp.float32, section.rates), strict=True))
    state = with_peak_rates(optimizer.init(params), peaks)
    found = {"backbone": [], "head": []}
    for epoch in epochs:
        _, after = optimizer.update(params, state, params, step=jnp.int32(epoch * steps))
        for group, rate in current_rates(after).items():
            found[group].append(float(rate))
    return found


def test_official_rates_epoch_by_epoch():
    epochs = [0, 20, 21, 40, 41, 80, 81, 99]
    found = rates(official(Config()), 10, epochs)
    head = [1e-2, 1e-2, 1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4]
    np.testing.assert_allclose(found["head"], head, rtol=1e-6)
    np.testing.assert_allclose(found["backbone"], [0.0, 0.0, *head[2:]], rtol=1e-6)


def test_official_rates_against_the_formula_of_the_authors():
    epochs = list(range(100))
    formula = [1e-2 * 0.1 ** max(0, (epoch - 1) // 40) for epoch in epochs]
    np.testing.assert_allclose(rates(official(Config()), 7, epochs)["head"], formula, rtol=1e-6)


def test_official_changes_only_the_recipe():
    data = DataConfig(name="tiny_imagenet", image_size=48)
    config = official(Config(data=data, seed=5))
    assert (config.data.name, config.data.image_size, config.seed) == ("tiny_imagenet", 48, 5)
    assert config.training.select == "test_best"
    # 5,994 images of CUB-200-2011: 93 full batches of 64, and one of 42 that is kept.
    assert steps_per_epoch(5994, config.data.batch_size, config.data.last_batch) == 94
    assert steps_per_epoch(5994, config.data.batch_size, clean(config).data.last_batch) == 93


LEFT_ALONE = {
    "data.name": "the data set",
    "data.data_dir": "the data set: where it is",
    "data.bad_images": "the data set: which of its files are broken",
    "data.test_fraction": "the data set: its splits, where it has none of its own",
    "data.train_images_per_class": "how many images",
    "data.image_size": "the image size",
    "data.small_image_size": "nothing, as small_image_epochs is 0",
    "data.eval_batch_size": "nothing: an evaluation is exact",
    "data.image_store": "nothing: the same pixels from elsewhere",
    "model.backbone": "the backbone",
    "model.stages": "the backbone: how much of it",
    "model.weights": "the weights",
    "training.remat": "nothing: the same numbers, computed twice",
    "training.watch_test": "nothing: test is looked at in any case",
    "training.checkpoint_every_seconds": "nothing that is trained",
    "training.log_every_steps": "nothing that is trained",
    "seed": "the seed",
}
"""Fields that `official` does not set: what they change, which is the experiment's or nothing."""


def test_official_sets_every_field_but_those_that_are_the_experiments(monkeypatch):
    monkeypatch.setattr(presets, "override", lambda config, values: values)
    values = official(Config())
    assert isinstance(values, dict)
    assert not values.keys() & LEFT_ALONE.keys()
    assert values.keys() | LEFT_ALONE.keys() == set(field_names())


def test_official_quirks():
    """The rows of docs/fidelity.md."""
    quirks = {
        "optimizer.boundaries_epochs": [41, 81],
        "optimizer.head_learning_rate": None,
        "training.head_start": "random",
        "training.batch_norm": "batch",
        "data.crop_min_area": 0.08,
        "training.freeze_epochs": 21,
        "training.freeze_mode": "zero_lr",
        "training.frozen_batch_norm": "batch",
        "model.torch_running_variance": True,
        "data.last_batch": "keep",
        "training.select": "test_best",
        "data.validation_fraction": 0.0,
        "data.video_eval": "random_frame",
    }
    found = flatten(official(Config()))
    assert {name: found[name] for name in quirks} == quirks


def test_official_takes_back_what_the_authors_do_not_have():
    """Each field that is not theirs, from an experiment that sets it; their values by hand."""
    theirs = {
        "optimizer.name": "sgd",
        "optimizer.head_learning_rate": None,
        "optimizer.decayed": "all",
        "optimizer.warmup_share": 0.0,
        "optimizer.full_rate_steps": 0,
        "optimizer.l2_sp": 0.0,
        "training.head_start": "random",
        "training.steps": None,
        "training.eval_every_steps": None,
        "training.frozen_stages": 0,
        "training.start_share": 0.0,
        "data.center_crop": True,
        "data.mirror_evaluation": False,
        "training.batch_norm": "batch",
        "data.crop_min_area": 0.08,
        "training.accumulation_steps": 1,
        "training.trainable": "all",
        "model.compute_dtype": "float32",
        "model.load_heads": False,
    }
    other = {
        "optimizer.name": "adamw",
        "optimizer.head_learning_rate": 0.1,
        "optimizer.decayed": "kernels",
        "optimizer.warmup_share": 0.1,
        "optimizer.full_rate_steps": 500,
        "optimizer.l2_sp": 0.01,
        "training.head_start": "random",
        "training.steps": 100,
        "training.eval_every_steps": 10,
        "training.frozen_stages": 1,
        "training.start_share": 0.5,
        "data.center_crop": False,
        "data.mirror_evaluation": True,
        "training.batch_norm": "running",
        "data.crop_min_area": 0.35,
        "training.accumulation_steps": 2,
        "training.trainable": "batch_norm",
        "model.compute_dtype": "bfloat16",
        "model.weights": "tiny_imagenet",
        "model.load_heads": True,
    }
    found = flatten(official(override(Config(), other)))
    assert {name: found[name] for name in theirs} == theirs
    assert found["model.weights"] == "tiny_imagenet"


def test_official_has_no_aids():
    aids = {
        "label_smoothing": 0.1,
        "mixup_alpha": 0.2,
        "ema_decay": 0.9,
        "early_stopping_patience": 3,
    }
    aided = override(Config(), {f"training.{name}": value for name, value in aids.items()})
    training = official(aided).training
    assert [getattr(training, name) for name in aids] == [0, 0, 0, 0]


def test_official_pixels():
    """Resize(256), RandomResizedCrop(224), flip: in proportion for another size."""
    moved = DataConfig(image_size=32, random_shift_pixels=2, small_image_epochs=3)
    for image_size, short_side in [(224, 256), (112, 128), (32, 37)]:
        data = official(override(Config(data=moved), {"data.image_size": image_size})).data
        assert (data.image_size, data.resize_size) == (image_size, short_side)
        assert (data.random_resized_crop, data.random_flip) == (True, True)
        assert (data.random_shift_pixels, data.small_image_epochs) == (0, 0)
        assert (data.validation_fraction, data.video_eval) == (0.0, "random_frame")


def test_clean_takes_each_quirk_back_and_is_the_default():
    assert clean(Config()) == Config()
    changed = {
        line.split(":")[0] for line in differences(official(Config()), clean(official(Config())))
    }
    assert changed == {
        "training.freeze_mode",
        "training.frozen_batch_norm",
        "model.torch_running_variance",
        "data.last_batch",
        "training.select",
        "data.video_eval",
    }


EXPERIMENT = """
from gtn_jax.config import *
CONFIG = Config(
    data=DataConfig(data_dir={data_dir!r}, image_size=16, train_images_per_class=4),
    model=ModelConfig(backbone="tiny"),
)
"""


@pytest.mark.parametrize("form", [["--preset", "official"], ["--preset=official"]])
def test_preset_comes_before_the_other_fields(tmp_path, data_dir, capsys, form):
    """One real run: fields win over the preset, test selects and is labeled as such."""
    from gtn_jax.runs.folder import RunFolder

    experiment = tmp_path / "mine.py"
    experiment.write_text(EXPERIMENT.format(data_dir=data_dir))
    fields = ["--data.batch_size", "16", "--training.epochs", "1", "--model.gate_reduction", "4"]
    workdir = tmp_path / "run"
    assert main(["train", str(experiment), *form, "--workdir", str(workdir), *fields]) == 0
    output = capsys.readouterr().out
    assert "differs from the authors' code: random numbers" in output
    assert "epoch 1/1  test accuracy" in output
    assert '"selected_on": "test"' in output
    folder = RunFolder(workdir)
    config = folder.config()
    assert (config.data.batch_size, config.training.freeze_mode) == (16, "zero_lr")
    assert folder.summary()["steps"] == 3  # 40 images: 16 + 16 + 8


def test_unknown_preset_offers_the_nearest(capsys):
    assert main(["train", "quickstart", "--preset", "oficial", "--workdir", "x"]) == 2
    assert "unknown preset 'oficial'; did you mean official?" in capsys.readouterr().err


def test_which_leaves_move_in_which_epoch(tiny_config):
    """Official: the backbone stands in epochs 0 to 20 while its momentum and statistics move."""
    import jax

    from gtn_jax.arrays import Batch
    from gtn_jax.training.setup import build_programs
    from gtn_jax.training.state import create_state
    from tests.plain_networks import build_model

    config = override(official(tiny_config), {"model.gate_reduction": 4})
    model, variables, preprocessing = build_model(config, 10)
    programs = build_programs(config, model, preprocessing, steps_per_epoch=1)
    step = programs.train_step(True, False)  # with zero_lr, the same program frozen or not
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    batch = Batch(images, np.arange(8, dtype=np.int32), np.ones(8, np.float32))
    for epoch, moves in [(0, False), (20, False), (21, True), (99, True)]:
        # A peak rate of 1, so that at epoch 99 no update drowns in rounding.
        before = create_state(variables, programs.optimizer, 1.0, seed=0)
        before = jax.tree.map(lambda leaf: leaf.copy(), before.replace(step=np.int32(epoch)))
        # Copies: the step donates its state, and on CPU device_get shows its very buffers.
        kept = jax.tree.map(np.array, before.replace(key=None))
        after, _ = step(before, batch)

        def moved(old, new) -> set[bool]:
            pairs = zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
            return {not np.array_equal(a, b) for a, b in pairs}

        assert moved(kept.params["backbone"], after.params["backbone"]) == {moves}
        for part in ("gate", "classifier", "aux_classifier"):
            assert moved(kept.params[part], after.params[part]) == {True}
        assert moved(kept.batch_stats, after.batch_stats) == {True}
        groups = after.opt_state.inner_states
        for group in ("backbone", "head"):
            assert True in moved(kept.opt_state.inner_states[group], groups[group])

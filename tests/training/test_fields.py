"""Every field of a config reaches the compiled programs, and changes them by what it should.

Programs come from `build_model` and `build_programs`, as a run's do; what they should compute is
NumPy's, on networks that NumPy can follow (plain_networks.py). Who adds a field adds it here.
"""

import re
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gtn_jax.arrays import Batch, Pooled, PooledBatch
from gtn_jax.config import override
from gtn_jax.config.run import field_names
from gtn_jax.data.images import ImagesInMemory, View
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import Subset, choose, whole
from gtn_jax.devices import data_mesh
from gtn_jax.models.backbones import BACKBONES
from gtn_jax.training import image_store
from gtn_jax.training.evaluate import evaluate_images
from gtn_jax.training.optimizer import current_rates
from gtn_jax.training.state import create_state
from gtn_jax.weights.registry import IMAGENET_MEAN, IMAGENET_STD
from tests.plain_networks import (
    BATCH,
    IMAGES,
    ONE_HOT,
    STILL,
    TRUNKS,
    build,
    cross_entropy,
    forward,
    normalized,
    step,
)
from tests.png_files import PngFiles

COVERED: set[str] = set()
"""Fields with a test in this file."""

ELSEWHERE = {
    # Which images there are, where they are kept, and how they are evaluated.
    "data.name": "data/test_subsets.py",
    "data.data_dir": "data/test_subsets.py",
    "data.last_batch": "data/test_pipeline.py",
    "data.small_image_epochs": "training/test_loop_numbers.py",
    "data.feature_cache_views": "training/test_loop.py",
    "data.image_store": "training/test_image_store.py",
    "data.bad_images": "data/builders/test_folder.py",
    # What the model starts from, and what is left of it.
    "model.weights": "weights/test_pretrained.py",
    "model.load_heads": "cli/test_main.py",
    "seed": "training/test_setup.py",
    # What the loop does between steps; the peak rate is in the state.
    "optimizer.learning_rate": "training/test_loop_numbers.py",
    "optimizer.head_learning_rate": "training/test_loop_numbers.py",
    "training.eval_every_steps": "training/test_resolution.py",
    "training.head_start": "training/test_head_start.py",
    "training.early_stopping_patience": "training/test_score.py",
    "training.select": "training/test_loop_numbers.py",
    "training.watch_test": "analysis/test_head_sweep.py",
    "training.eval_every_epochs": "runtime/test_interruption.py",
    "training.checkpoint_every_seconds": "training/test_loop_numbers.py",
    "training.log_every_steps": "training/test_loop_numbers.py",
}
"""Fields that do not reach the programs of a run: where they are tested."""


def reaches(*fields: str):
    """Marks a test as that of these fields."""
    COVERED.update(fields)
    return lambda test: test


def test_no_field_is_forgotten():
    assert sorted([*COVERED, *ELSEWHERE]) == sorted(field_names())
    for field, file in ELSEWHERE.items():
        text = (Path(__file__).parent.parent / file).read_text()
        word = rf"\b{field.rpartition('.')[2]}\b"
        assert re.search(word, text), f"{file} says nothing of {field}"


@pytest.fixture(autouse=True)
def backbones(tables):
    BACKBONES.update(TRUNKS)


def assert_close(found, expected, rtol=1e-4, atol=1e-5):
    def close(path, a, b):
        np.testing.assert_allclose(a, b, rtol, atol, err_msg=jax.tree_util.keystr(path))

    jax.tree.map_with_path(close, found, expected)


def assert_same(found, expected):
    assert_close(found, expected, 0, 0)


# ---- the update ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gradient(tiny_backbone):
    """Of the loss on BATCH, by the plainest step, w <- w - g; NumPy follows its length."""
    BACKBONES.update(TRUNKS)
    before, after, loss = step({})
    for name in TRUNKS:
        del BACKBONES[name]
    found = jax.tree.map(lambda w, moved: w - moved, before.params, after.params)

    def along(share: float) -> float:
        params = jax.tree.map(lambda w, g: np.float64(w) + share * g, before.params, found)
        variables = {"params": params, "batch_stats": before.batch_stats}
        return cross_entropy(forward(variables, IMAGES, True, "none")[0], ONE_HOT)

    assert loss == pytest.approx(along(0.0), rel=1e-5)
    square = sum(float(np.sum(np.float64(g) ** 2)) for g in jax.tree.leaves(found))
    assert (along(1e-5) - along(-1e-5)) / 2e-5 == pytest.approx(square, rel=1e-3)
    return found


# Fields of a program; new weights of the backbone, and of the head.
UPDATES = [
    (
        {"optimizer.momentum": 0.5, "optimizer.weight_decay": 0.1},
        lambda w, g: w - 1.5 * (g + 0.1 * w),
        lambda w, g: w - 1.5 * (g + 0.1 * w),
    ),
    (
        {"optimizer.l2_sp": 0.1, "optimizer.weight_decay": 0.2},
        lambda w, g: w - (g + 0.1 * (w - w / 2)),
        lambda w, g: w - (g + 0.2 * w),
    ),
]


def sign(gradient):
    """Adam's direction after equal gradients: both means are the gradient and its square."""
    return gradient / (abs(gradient) + 1e-8)


UPDATES += [
    (
        {"optimizer.name": "adamw", "optimizer.weight_decay": 0.1},
        lambda w, g: w - (sign(g) + 0.1 * w * (w.ndim > 1)),
        lambda w, g: w - (sign(g) + 0.1 * w),
    ),
    (
        {"optimizer.decayed": "kernels", "optimizer.weight_decay": 0.1},
        lambda w, g: w - (g + 0.1 * w * (w.ndim > 1)),
        lambda w, g: w - (g + 0.1 * w),
    ),
]


@reaches("optimizer.momentum", "optimizer.weight_decay")
@reaches("optimizer.name", "optimizer.decayed")
@reaches("optimizer.l2_sp")
@pytest.mark.parametrize(("values", "of_backbone", "of_head"), UPDATES)
def test_update(gradient, values, of_backbone, of_head):
    """The second of two steps, of which the first one has the rate 0 and fills momentum.

    v = m (g + decay w) + (g + decay w), as no weight has moved; all began at half of what they are.
    """
    _, variables, programs = build(values)
    halves = jax.tree.map(lambda w: w / 2, variables["params"])
    state = create_state(variables | {"params": halves}, programs.optimizer, 0.0, 0)
    train_step = programs.train_step(False, False)
    state, _ = train_step(state.replace(params=variables["params"]), BATCH)
    state, _ = train_step(state.at_rate(jnp.float32(1)), BATCH)
    expected = {
        name: jax.tree.map(rule, variables["params"][name], gradient[name])
        for name, rule in (("backbone", of_backbone), ("classifier", of_head))
    }
    assert_close(jax.device_get(state.params), expected)


@reaches("training.trainable", "training.ema_decay")
def test_batch_norm_alone_and_a_running_mean(gradient):
    """a + (1 - d) (w - a), where d is the decay, as it is below 1 / 10; evaluation takes it."""
    values = {"training.trainable": "batch_norm", "training.ema_decay": 0.05}
    before, after, _ = step(values)
    start, backbone = before.params["backbone"], after.params["backbone"]
    assert_same(backbone["conv1"], start["conv1"])
    for found, old, slope in (
        (backbone["bn1"], start["bn1"], gradient["backbone"]["bn1"]),
        (after.params["classifier"], before.params["classifier"], gradient["classifier"]),
    ):
        assert_close(found, jax.tree.map(lambda w, g: w - g, old, slope))
    mean = jax.tree.map(lambda a, w: a + 0.95 * (w - a), before.params, after.params)
    assert_close(after.variables["params"], mean)


@reaches("training.start_share", "training.batch_norm")
def test_a_share_of_the_start_and_running_statistics(gradient):
    """Those count and stay; what is evaluated has moved by three quarters of the step."""
    before, after, loss = step({"training.start_share": 0.25, "training.batch_norm": "running"})
    assert_same(after.batch_stats, before.batch_stats)
    expected = cross_entropy(forward(before.variables, gate="none")[0], ONE_HOT)
    assert loss == pytest.approx(expected, rel=1e-5)
    blend = jax.tree.map(lambda a, w: 0.25 * a + 0.75 * w, before.params, after.params)
    assert_close(after.variables["params"], blend)


@reaches("training.frozen_stages")
def test_first_stages_stand_still():
    """Both layers of this backbone are called as a stem's are; statistics move all the same."""
    before, after, _ = step({"training.frozen_stages": 1})
    assert_same(after.params["backbone"], before.params["backbone"])
    kernels = [state.params["classifier"]["fc"]["kernel"] for state in (before, after)]
    assert np.any(kernels[0] != kernels[1])


RATES = [
    ({"optimizer.schedule": "cosine"}, {0: 1.0, 10: 0.5 + 2**-1.5, 20: 0.5, 40: 0.0}),
    ({"optimizer.schedule": "cosine", "training.epochs": 2}, {10: 0.5, 20: 0.0}),
    ({"optimizer.schedule": "cosine", "optimizer.warmup_epochs": 2.0}, {5: 0.25, 20: 1.0, 30: 0.5}),
    ({"optimizer.schedule": "step", "optimizer.boundaries_epochs": (1, 3)},
     {9: 1.0, 10: 0.1, 29: 0.1, 30: 0.01}),
    ({"optimizer.schedule": "step", "optimizer.boundaries_epochs": (2,),
      "optimizer.decay_factor": 0.5}, {19: 1.0, 20: 0.5}),
    ({"training.freeze_epochs": 3}, {0: 0.0, 29: 0.0, 30: 1.0}),
    ({"optimizer.schedule": "cosine", "optimizer.warmup_share": 0.5}, {10: 0.5, 20: 1.0, 30: 0.5}),
    ({"optimizer.schedule": "cosine", "training.steps": 20}, {10: 0.5, 20: 0.0}),
    ({"optimizer.schedule": "cosine", "optimizer.full_rate_steps": 160}, {0: 0.5, 20: 0.25}),
    ({"optimizer.schedule": "cosine", "optimizer.full_rate_steps": 30}, {0: 1.0, 20: 0.5}),
]  # fmt: skip


@reaches("optimizer.schedule", "optimizer.warmup_epochs", "optimizer.boundaries_epochs")
@reaches("optimizer.decay_factor", "training.epochs", "training.freeze_epochs")
@reaches("optimizer.warmup_share", "optimizer.full_rate_steps", "training.steps")
@pytest.mark.parametrize(("values", "rates"), RATES)
def test_rate_of_the_backbone_at_steps_of_ten_an_epoch(values, rates):
    optimizer = build(values)[2].optimizer
    params = {"backbone": {"bn1": {"scale": jnp.zeros(1)}}}
    state, found = optimizer.init(params), {}
    for number in rates:
        _, after = optimizer.update(params, state, params, step=jnp.int32(number))
        found[number] = float(current_rates(after)["backbone"])
    assert found == pytest.approx(rates, abs=1e-6)


def test_runs_that_differ_in_seed_and_peak_rate_share_programs():
    other = build({"seed": 7, "optimizer.learning_rate": 0.3})
    assert other[2] is build({})[2]


# ---- a frozen backbone ------------------------------------------------------------------------


@reaches("training.freeze_mode", "training.frozen_batch_norm")
def test_a_frozen_backbone_stands_still():
    """The default: neither weights nor momentum nor running statistics move, and those count."""
    before, after, loss = step({"optimizer.momentum": 0.5}, frozen=True)
    assert_same(after.params["backbone"], before.params["backbone"])
    assert_same(after.batch_stats, before.batch_stats)
    assert_same(*[s.opt_state.inner_states["backbone"] for s in (after, before)])
    assert np.any(after.params["classifier"]["fc"]["kernel"] != 
                  before.params["classifier"]["fc"]["kernel"])  # fmt: skip
    expected = cross_entropy(forward(before.variables, gate="none")[0], ONE_HOT)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_frozen_backbone_the_authors_way(gradient):
    """Statistics move by a tenth and momentum fills, though the rate is 0."""
    before, after, _ = step(
        {"training.freeze_mode": "zero_lr", "training.frozen_batch_norm": "batch"}
        | {"training.freeze_epochs": 1, "optimizer.momentum": 0.5}, frozen=True,
    )  # fmt: skip
    assert_same(after.params["backbone"], before.params["backbone"])
    *_, moments = forward(before.variables, IMAGES, True, "none")
    old = before.batch_stats["backbone"]
    expected = jax.tree.map(lambda kept, new: 0.9 * kept + 0.1 * new, old, moments)
    assert_close(after.batch_stats["backbone"], expected)
    *momentum, _, _ = jax.tree.leaves(after.opt_state.inner_states["backbone"])  # and rates
    for found, truth in zip(momentum, jax.tree.leaves(gradient["backbone"]), strict=True):
        np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-5)


@reaches("model.torch_running_variance")
def test_unbiased_running_variance():
    """PyTorch's is n / (n - 1) of the biased one, here of n = 4 x 4 x 4 values."""
    before, after, _ = step(
        {"model.backbone": "tiny", "model.torch_running_variance": True}
        | {"training.frozen_batch_norm": "batch"}, frozen=True,
    )  # fmt: skip
    kernel = np.float64(after.params["backbone"]["conv1"]["kernel"])
    padded = np.pad(IMAGES, [(0, 0), (1, 1), (1, 1), (0, 0)])
    maps = sum(padded[:, i : i + 8 : 2, j : j + 8 : 2] @ kernel[i, j] for i in range(3)
               for j in range(3))  # fmt: skip
    old = before.batch_stats["backbone"]["bn1"]["var"]
    expected = 0.9 * old + 0.1 * maps.reshape(64, -1).var(axis=0, ddof=1)
    np.testing.assert_allclose(after.batch_stats["backbone"]["bn1"]["var"], expected, rtol=1e-5)


# ---- the loss ------------------------------------------------------------------------------


@reaches("training.label_smoothing", "training.accumulation_steps", "data.batch_size")
def test_smoothed_labels_in_two_micro_batches():
    """Of the rows 0, 2 and 1, 3, each normalized by itself; expected are 0.8 + 0.2 / 3, 0.2 / 3."""
    before, _, loss = step({"training.label_smoothing": 0.2, "training.accumulation_steps": 2})
    wanted = 0.8 * ONE_HOT + 0.2 / 3
    parts = [
        cross_entropy(forward(before.variables, IMAGES[k::2], True, "none")[0], wanted[k::2])
        for k in (0, 1)
    ]
    assert loss == pytest.approx(np.mean(parts), rel=1e-5)


@reaches("training.mixup_alpha")
def test_mixed_images_are_asked_for_both_labels():
    """Of so narrow a distribution that all shares are 1 / 2, give or take 1e-4."""
    before, _, loss = step({"training.mixup_alpha": 1e7}, frozen=True)
    images = (IMAGES + np.roll(IMAGES, 1, axis=0)) / 2
    wanted = (ONE_HOT + np.roll(ONE_HOT, 1, axis=0)) / 2
    expected = cross_entropy(forward(before.variables, images, gate="none")[0], wanted)
    assert loss == pytest.approx(expected, rel=1e-3)


@reaches("model.aux_weight")
def test_cached_features_of_a_frozen_backbone_have_the_loss_of_its_images():
    """Smoothed, with an auxiliary classifier: features' step, images' step and NumPy."""
    values = {"model.stages": 2, "model.aux_weight": 0.5, "training.label_smoothing": 0.2}
    before, after, loss = step(values, frozen=True)
    logits, auxiliary, pooled, _ = forward(before.variables, gate="none")
    wanted = 0.8 * ONE_HOT + 0.2 / 3
    expected = cross_entropy(logits, wanted) + 0.5 * cross_entropy(auxiliary, wanted)
    assert loss == pytest.approx(expected, rel=1e-5)
    config, variables, programs = build(values)
    state = create_state(variables, programs.optimizer, 1.0, config.seed)
    features = Pooled(*[jnp.float32(of_stage) for of_stage in pooled[::-1]])
    state, metrics = programs.train_step(True, False)(
        state, PooledBatch(features, BATCH.labels, BATCH.mask)
    )
    assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-5)
    assert_close(jax.device_get(state.params), after.params)


@reaches("model.gate_dropout", "model.classifier_dropout")
def test_gate_and_classifier_drop_each_at_its_own_rate():
    """A weight whose input was dropped does not move."""
    rates = {"model.gate_dropout": 0.2, "model.classifier_dropout": 0.6}
    programs = build({"model.gate": "sigmoid", "model.gate_reduction": 2} | rates)[2]
    wide = {
        "gate": {"fc1": {"kernel": np.full((800, 400), 1e-3, "f")},
                 "fc2": {"kernel": np.full((400, 800), 1e-3, "f")}},
        "classifier": {"fc": {"kernel": np.random.default_rng(0).normal(size=(800, 3)) / 40}},
    }  # fmt: skip
    wide = jax.tree.map(np.float32, wide)
    state = create_state({"params": wide, "batch_stats": {}}, programs.optimizer, 1.0, 0)
    features = Pooled(jnp.ones((1, 800)), None)
    state, _ = programs.train_step(True, False)(
        state, PooledBatch(features, np.int32([0]), np.ones(1, "f"))
    )
    still = [
        np.mean(np.all(np.asarray(new) == old, axis=1))
        for new, old in (
            (state.params["gate"]["fc2"]["kernel"], wide["gate"]["fc2"]["kernel"]),
            (state.params["classifier"]["fc"]["kernel"], wide["classifier"]["fc"]["kernel"]),
        )
    ]
    # Deviations of such shares are 0.02 and 0.017.
    assert still == pytest.approx([0.2, 0.6], abs=0.08)


# ---- the network ---------------------------------------------------------------------------

NETWORKS = [
    (
        {"model.stages": 2, "model.gate": "sigmoid", "model.gate_reduction": 5}
        | {"model.classifier_bias": True},
        "backbone/bn1/bias 8, backbone/bn1/scale 8, backbone/bn2/bias 16, backbone/bn2/scale 16, "
        "backbone/conv1/kernel 1x1x3x8, backbone/conv2/kernel 1x1x8x16, "
        "classifier/fc/bias 3, classifier/fc/kernel 16x3, "
        "gate/fc1/kernel 16x3, gate/fc2/kernel 3x16",  # of 16 / 5
    ),
    (
        {"model.gate": "half"},
        "backbone/bn1/bias 8, backbone/bn1/scale 8, backbone/conv1/kernel 1x1x3x8, "
        "classifier/fc/kernel 8x3",
    ),
]


@reaches("model.backbone", "model.stages", "model.gate", "model.gate_reduction")
@reaches("model.classifier_bias")
@pytest.mark.parametrize(("values", "arrays"), NETWORKS)
def test_network_of_an_evaluation(values, arrays):
    config, variables, programs = build(values | {"model.gate_dropout": 0.0})
    leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
    found = [
        f"{jax.tree_util.keystr(path, simple=True, separator='/')} {'x'.join(map(str, leaf.shape))}"
        for path, leaf in leaves
    ]
    assert ", ".join(found) == arrays
    sums, _ = programs.evaluation_step(variables, BATCH)
    logits, *_ = forward(variables, gate=config.model.gate)
    assert float(sums.loss) / 4 == pytest.approx(cross_entropy(logits, ONE_HOT), rel=1e-5)


@reaches("data.mirror_evaluation")
def test_answers_for_an_image_and_its_mirror_image():
    """The mean of what is said of both; of features that are pixels, which tell left from right."""
    pixels = {"model.backbone": "pixels"}
    _, variables, programs = build(pixels)
    images = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), np.uint8)
    batch, mirrored = (BATCH._replace(images=side) for side in (images, images[:, :, ::-1]))
    said = [np.float64(programs.probabilities_step(variables, side)) for side in (batch, mirrored)]
    assert np.abs(said[0] - said[1]).max() > 0.01
    _, _, programs = build(pixels | {"data.mirror_evaluation": True})
    found = programs.probabilities_step(variables, batch)
    np.testing.assert_allclose(found, (said[0] + said[1]) / 2, rtol=1e-5)
    sums, _ = programs.evaluation_step(variables, batch)
    own = ((said[0] + said[1]) / 2)[np.arange(4), BATCH.labels]
    assert float(sums.loss) == pytest.approx(-np.log(own).sum(), rel=1e-5)


@reaches("model.compute_dtype")
def test_maps_in_bfloat16():
    """The backbone's products are; the loss is NumPy's within a percent and not within rounding."""
    with jax.numpy_dtype_promotion("standard"):  # Flax's own BatchNorm mixes both
        _, variables, programs = build({"model.compute_dtype": "bfloat16"})
        traced = str(jax.make_jaxpr(programs.evaluation_step)(variables, BATCH))
        sums, _ = programs.evaluation_step(variables, BATCH)
    assert ":bf16[4,8,8,8] = dot_general" in traced
    exact = cross_entropy(forward(variables, gate="none")[0], ONE_HOT)
    assert 1e-5 < abs(float(sums.loss) / 4 / exact - 1) < 1e-2


@reaches("training.remat")
def test_blocks_are_computed_twice():
    """A normalization has one root: three in a stage of the tiny backbone, two in its block."""
    values = {"model.backbone": "tiny", "training.remat": "blocks"}
    _, variables, programs = build(values)
    state = create_state(variables, programs.optimizer, 1.0, 0)
    traced = str(jax.make_jaxpr(programs.train_step(False, False))(state, BATCH))
    assert traced.count(" rsqrt ") == 3 + 2


# ---- the images ----------------------------------------------------------------------------


def shown(values: dict[str, Any], images, rows: int, sizes=None) -> np.ndarray:
    """One image as the model sees it so many times, float B S S 3 in 0..255 again."""
    _, variables, programs = build({"model.backbone": "pixels", **values})
    variables = jax.tree.map(np.zeros_like, variables)
    scale = np.ones(3, np.float32)
    variables["params"]["backbone"]["bn1"]["scale"] = scale
    variables["batch_stats"]["backbone"]["bn1"]["var"] = scale
    tiled = np.tile(images, (rows, 1, 1, 1))
    batch = Batch(tiled, np.zeros(rows, np.int32), np.ones(rows, "f"), sizes)
    pooled = programs.pooling_step(variables, batch, jax.random.key(0), np.arange(rows))
    side = round((pooled.final.shape[1] / 3) ** 0.5)
    pixels = np.float64(pooled.final).reshape(rows, side, side, 3) * np.sqrt(1 + 1e-5)
    return (pixels * IMAGENET_STD + IMAGENET_MEAN) * 255


@reaches("data.random_flip", "data.random_shift_pixels")
def test_mirrored_and_shifted():
    """By up to a pixel: each of the 18 that are possible is seen, and no other."""
    image = BATCH.images[:1]
    found = shown({"data.random_flip": True, "data.random_shift_pixels": 1}, image, 200)
    padded = np.pad(image[0], [(1, 1), (1, 1), (0, 0)])
    moved = [padded[i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    possible = {one.tobytes() for move in moved for one in (move, move[:, ::-1])}
    assert len(possible) == 18
    assert {one.tobytes() for one in np.uint8(np.round(found))} == possible


@reaches("data.random_resized_crop", "data.image_size", "data.crop_min_area")
def test_random_crops_of_the_size_that_the_model_sees():
    """Of a slope, whose steps tell the box: 8 to 100 % of the area, aspect 3 / 4 to 4 / 3."""
    rows, columns = np.mgrid[:12, :20].astype(np.uint8)
    image = np.stack([4 * rows, 4 * columns, 0 * rows + 7], axis=-1)[None]
    found = shown({"data.random_resized_crop": True, "data.image_size": 6}, image, 50)
    assert found.shape == (50, 6, 6, 3)
    np.testing.assert_allclose(found[..., 2], 7, atol=1e-3)
    # Away from the edges, where the filter is cut off; its weights at whole pixels are not exact.
    height, width = ((found[:, 3, 3, k] - found[:, 2, 2, k]) * 6 / 4 for k in (0, 1))
    assert len(set(np.round(width))) > 5
    share, aspect = height * width / 240, width / height
    assert 0.06 < share.min() < 0.3 and 0.4 < share.max() < 0.9
    assert 0.6 < aspect.min() < 0.85 and 1.2 < aspect.max() < 1.7
    values = {"data.random_resized_crop": True, "data.image_size": 6, "data.crop_min_area": 0.6}
    found = shown(values, image, 50)
    height, width = ((found[:, 3, 3, k] - found[:, 2, 2, k]) * 6 / 4 for k in (0, 1))
    assert 0.5 < (height * width / 240).min() < 0.75


@reaches("data.small_image_size")
def test_small_images():
    """As Pillow resizes them."""
    values = {"data.small_image_size": 4}
    before, _, loss = step(values, frozen=True, small=True)
    small = np.zeros((4, 4, 4, 3))
    for number, image in enumerate(BATCH.images):
        for color in range(3):
            plane = Image.fromarray(np.float32(image[..., color]))
            small[number, ..., color] = plane.resize((4, 4), Image.Resampling.BILINEAR)
    expected = cross_entropy(forward(before.variables, normalized(small), gate="none")[0], ONE_HOT)
    assert loss == pytest.approx(expected, rel=1e-5)


@reaches("data.resize_size", "data.center_crop")
def test_short_side_before_the_square_is_cut_out():
    """Of 12 x 20 pixels: 10 high, 16 wide, and of these 8 x 8 in the middle; Pillow's."""
    config = override(STILL, {"data.resize_size": 10})
    split = Split(PngFiles([(12, 20)] * 2), ("a", "b"), "train")
    parts = {"train": whole(split), "validation": whole(split)}
    images = image_store.load_images(config, parts, data_mesh(1))
    rows, columns = np.mgrid[:12, :20].astype(np.uint8)
    pixels = Image.fromarray(np.stack([rows, columns, 0 * rows], axis=-1))
    resized = np.asarray(pixels.resize((16, 10), Image.Resampling.BILINEAR))
    for name in parts:
        found = images[name].gather(np.array([0])).images[0]
        np.testing.assert_array_equal(found, resized[1:9, 4:12])
    images = image_store.load_images(
        override(config, {"data.center_crop": False}), parts, data_mesh(1)
    )
    for name, expected in (("train", resized[1:9, 4:12]), ("validation", resized[:, 3:13])):
        np.testing.assert_array_equal(images[name].gather(np.array([0])).images[0], expected)


@reaches("data.test_fraction", "data.validation_fraction", "data.train_images_per_class")
def test_how_many_images_of_a_class():
    """Of 20: 6 test, a half of the other 14 validates, 4 of these 7 are trained on."""
    shares = {"data.test_fraction": 0.3, "data.validation_fraction": 0.5}
    config = override(STILL, shares | {"data.train_images_per_class": 4})
    source = PngFiles([(8, 8)] * 40)
    for number, example in enumerate(source.examples):
        example["label"] = number % 2
    parts = choose({"train": Split(source, ("a", "b"), "train")}, config.data, config.seed)
    found = {name: np.bincount(part.labels).tolist() for name, part in parts.items()}
    assert found == {"train": [4, 4], "validation": [7, 7], "test": [6, 6]}


@reaches("data.video_eval", "data.eval_batch_size")
@pytest.mark.parametrize(("way", "accuracy"), [("mean_of_25", 1.0), ("random_frame", 0.5)])
def test_clips_are_judged_in_batches_of(way, accuracy):
    """Two clips of two frames: the means are right, one frame is wrong."""
    said = np.float32([[0.9, 0.1], [0.45, 0.55], [0.1, 0.9], [0.2, 0.8]])
    sizes = []

    def probabilities_step(variables, batch):
        sizes.append(len(batch.labels))
        return jnp.asarray(said[batch.images[:, 0, 0, 0]])

    split = Split([], ("a", "b"), "test", clips=True)
    labels, files = np.int32([0, 0, 1, 1]), np.array(["a/1/x", "a/1/y", "b/2/x", "b/2/y"])
    part = Subset(split, np.arange(4), labels, files, np.full((4, 2), 8))
    pixels = [np.full((8, 8, 3), number, np.uint8) for number in range(4)]
    clips = np.array([0, 0, 1, 1])
    images = ImagesInMemory(part, View(8, 8), 8, 8, 0, clips, pixels=pixels)
    config = override(STILL, {"data.eval_batch_size": 3, "data.video_eval": way})
    setup: Any = types.SimpleNamespace(
        programs=types.SimpleNamespace(probabilities_step=probabilities_step),
        config=config,
        mesh=data_mesh(1),
        classes=("a", "b"),
        evaluation_batch=3,
    )
    found = [evaluate_images(setup, {}, images, draw).figures["accuracy"] for draw in range(10)]
    assert set(sizes) == {3}
    assert min(found) == accuracy and max(found) == 1.0

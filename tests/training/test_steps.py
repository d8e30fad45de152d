"""The training step: what moves when frozen, how many devices do not matter, purity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.arrays import Batch, Pooled, PooledBatch
from gtn_jax.data.augment import evaluation_transform, training_transform
from gtn_jax.data.targets import batch_transform
from gtn_jax.devices import data_mesh, put_batch, replicate
from gtn_jax.models.gtn import GTN, init_variables, variable_shapes
from gtn_jax.training.averaging import with_average
from gtn_jax.training.evaluate import evaluate
from gtn_jax.training.forward_steps import make_evaluation_step, make_forward
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.optimizer import build_optimizer, parameter_groups, relative_schedule
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def batch_of(size: int, seed: int = 0) -> Batch:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (size, 16, 16, 3), dtype=np.uint8)
    labels = generator.integers(0, 7, size).astype(np.int32)
    return Batch(images, labels, np.ones(size, np.float32))


@pytest.fixture(scope="module")
def model():
    return GTN("tiny", 7, gate_reduction=4)


@pytest.fixture(scope="module")
def optimizer():
    constant = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    return build_optimizer(0.9, 1e-4, constant, frozen_steps=2)


@pytest.fixture(scope="module")
def start(model, optimizer):
    return create_state(init_variables(model, 0), optimizer, 0.1, seed=0)


TRANSFORM = training_transform(MEAN, STD, random_flip=True, random_shift_pixels=2)
FROZEN = ["backbone/.*"]


def build(model, optimizer, loss=gtn_loss(0.2), ema_decay=0.0, **options):  # noqa: B008
    step = make_train_step(model, optimizer, batch_transform(TRANSFORM), loss, **options)
    return jax.jit(with_average(step, ema_decay) if ema_decay else step)


@pytest.fixture(scope="module")
def full_step(model, optimizer):
    return build(model, optimizer)


def moved(before, after) -> bool:
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return any(not np.array_equal(a, b) for a, b in pairs)


def test_zero_rate_freezing_fills_momentum(start, full_step):
    """The authors' way: parameters stand, momentum and running statistics move."""
    state, metrics = full_step(start, batch_of(8))
    assert not moved(start.params["backbone"], state.params["backbone"])
    assert moved(start.params["classifier"], state.params["classifier"])
    assert moved(start.params["gate"], state.params["gate"])
    assert moved(start.batch_stats, state.batch_stats)
    momentum = state.opt_state.inner_states["backbone"]
    assert moved(start.opt_state.inner_states["backbone"], momentum)
    assert float(metrics["learning_rate_backbone"]) == 0.0
    np.testing.assert_allclose(metrics["learning_rate_head"], 0.1)
    # Once the frozen steps are over, the backbone moves.
    state, _ = full_step(state, batch_of(8))
    later, metrics = full_step(state, batch_of(8))
    assert moved(state.params["backbone"], later.params["backbone"])
    np.testing.assert_allclose(metrics["learning_rate_backbone"], 0.1)


@pytest.mark.parametrize("batch_norm", ["batch", "running"])
def test_no_gradient_freezing_leaves_momentum(model, optimizer, start, batch_norm):
    step = build(model, optimizer, frozen=FROZEN, batch_norm=batch_norm)
    state, _ = step(start, batch_of(8))
    old, new = start.opt_state.inner_states, state.opt_state.inner_states
    assert not moved(start.params["backbone"], state.params["backbone"])
    assert not moved(old["backbone"], new["backbone"])
    assert moved(old["head"], new["head"])
    assert moved(start.params["aux_classifier"], state.params["aux_classifier"])
    assert moved(start.batch_stats, state.batch_stats) is (batch_norm == "batch")


def infinite_gradient(params, outputs, batch):
    """The loss stays as it is, its gradient does not."""
    found = gtn_loss(0.2)(params, outputs, batch)
    penalty = jnp.sqrt(0 * jnp.sum(params["classifier"]["fc"]["kernel"] ** 2))
    return found._replace(total=found.total + penalty)


@pytest.mark.parametrize("cause", ["loss", "gradient"])
def test_refused_step_changes_nothing_and_is_final(model, optimizer, start, full_step, cause):
    state, metrics = full_step(start, batch_of(8))
    assert int(metrics["step"]) == 1
    batch = batch_of(8, seed=1)
    if cause == "loss":
        batch = batch._replace(mask=np.float32([np.nan, *[1] * 7]))
        refused, metrics = full_step(state, batch)
        assert not np.isfinite(metrics["loss"])
    else:
        refused, metrics = build(model, optimizer, infinite_gradient)(state, batch)
        assert np.isfinite(metrics["loss"])
        assert not np.isfinite(metrics["gradient_norm"])
    for _ in range(2):
        assert int(refused.step) == int(metrics["step"]) == 1
        assert refused.refused and metrics["refused"]
        assert not moved(state.variables, refused.variables)
        assert not moved(state.opt_state, refused.opt_state)
        refused, metrics = full_step(refused, batch_of(8, seed=2))  # a good batch


@pytest.fixture(scope="module")
def flops(optimizer):
    """Of the steps of a ResNet-18 GTN, on 4 images of 32 pixels."""
    model = GTN("resnet18", 10)
    start = jax.eval_shape(lambda v: create_state(v, optimizer, 0.1, 0), variable_shapes(model))
    rows = (jnp.zeros(4, jnp.int32), jnp.ones(4))
    batch = Batch(jnp.zeros((4, 32, 32, 3), jnp.uint8), *rows)
    pooled = PooledBatch(Pooled(jnp.zeros((4, 512)), jnp.zeros((4, 256))), *rows)

    def count(step) -> float:
        lowered = jax.jit(step).lower(start, pooled if step is head_step else batch)
        # What is not even traced needs no compiler that takes it away, and compiling takes long.
        # Of the head's step it takes away the backbone's parameters, copied where they stand still.
        program = lowered.compile() if step is head_step else lowered
        return program.cost_analysis()["flops"]

    transform, loss = batch_transform(TRANSFORM), gtn_loss(0.2)
    full = make_train_step(model, optimizer, transform, loss)
    frozen = {"frozen": FROZEN, "batch_norm": "running"}
    no_gradient, head_step = (
        make_train_step(model, optimizer, transform, loss, **frozen) for _ in range(2)
    )
    return {"full": count(full), "no_grad": count(no_gradient), "head": count(head_step)}


def test_a_frozen_backbone_has_no_backward_pass(flops):
    """Forward is 1 of 3 parts of the work, and the stem has no gradient by its input."""
    assert 0.2 * flops["full"] < flops["no_grad"] < 0.4 * flops["full"]


def test_given_features_leave_nothing_of_the_backbone(flops):
    """Three products an image of 512 x 32 (twice), 512 x 10 and 256 x 10, and their updates."""
    products = 2 * 3 * 4 * (2 * 512 * 32 + 512 * 10 + 256 * 10)
    assert products < flops["head"] < 2 * products < 0.02 * flops["full"]


def test_frozen_head_update_is_the_same_either_way(model, optimizer, start, full_step):
    """Frozen by rate or by gradient, the head learns the same from batch statistics."""
    without = build(model, optimizer, frozen=FROZEN)
    a, _ = full_step(start, batch_of(8))
    b, _ = without(start, batch_of(8))
    for name in ("gate", "classifier", "aux_classifier"):
        pairs = zip(jax.tree.leaves(a.params[name]), jax.tree.leaves(b.params[name]), strict=True)
        for x, y in pairs:
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_step_is_pure_and_random_by_its_number(start, full_step):
    first, metrics = full_step(start, batch_of(8))
    _, again = full_step(start, batch_of(8))
    assert float(metrics["loss"]) == float(again["loss"])
    _, later = full_step(start.replace(step=start.step + 1), batch_of(8))
    assert float(metrics["loss"]) != float(later["loss"])  # other dropout, other shifts
    assert int(start.step) == 0
    assert int(first.step) == 1


def test_number_of_devices_does_not_matter(model, start, full_step):
    """Global BatchNorm: 1 and 4 devices agree to rounding, at step 1 and at step 10."""
    losses = {}
    for devices in (1, 4):
        mesh = data_mesh(devices)
        state = replicate(start, mesh)
        losses[devices] = []
        for number in range(10):
            state, metrics = full_step(state, put_batch(batch_of(8, number), mesh))
            losses[devices].append(float(metrics["loss"]))
    assert abs(losses[1][0] / losses[4][0] - 1) < 1e-5
    assert abs(losses[1][9] / losses[4][9] - 1) < 1e-3


def test_batch_that_does_not_divide_goes_whole_to_all(start, full_step):
    results = []
    for devices in (1, 3):
        mesh = data_mesh(devices)
        _, metrics = full_step(replicate(start, mesh), put_batch(batch_of(8), mesh))
        results.append(float(metrics["loss"]))
    assert abs(results[0] / results[1] - 1) < 1e-5


@pytest.fixture(scope="module")
def evaluation_step(model):
    return jax.jit(make_evaluation_step(make_forward(model, evaluation_transform(MEAN, STD))))


@pytest.mark.parametrize("count", [1, 7, 8, 9])
def test_evaluation_counts_are_exact(evaluation_step, start, count):
    """Padding and devices change nothing: the truth is one row at a time, without padding."""
    step, whole = evaluation_step, batch_of(9)
    rows = [Batch(*(a[i : i + 1] for a in whole[:3])) for i in range(count)]
    truth, alone = evaluate(step, start.variables, rows, data_mesh(1))

    def padded(size):
        for first in range(0, count, size):
            stop = min(first + size, count)
            missing = size - (stop - first)
            yield Batch(
                *(
                    np.pad(a[first:stop], [(0, missing)] + [(0, 0)] * (a.ndim - 1))
                    for a in whole[:3]
                )
            )

    for devices in (1, 4):
        mesh = data_mesh(devices)
        variables = replicate(start.variables, mesh)
        result, answers = evaluate(step, variables, padded(8), mesh)
        assert result["images"] == count
        assert result["accuracy"] == truth["accuracy"]
        assert result["top5_accuracy"] == truth["top5_accuracy"]
        np.testing.assert_allclose(result["loss"], truth["loss"], rtol=1e-6)
        assert answers.predicted.tolist() == alone.predicted.tolist()
        np.testing.assert_allclose(answers.label_probability, alone.label_probability, rtol=1e-4)


def test_peak_rate_is_data_not_program(start, full_step):
    """At rate 0 nothing moves, by the same compiled step."""
    state, _ = full_step(start.at_rate(jnp.float32(0)), batch_of(8))
    assert not moved(start.params, state.params)


def test_batch_norm_only_computes_no_gradient_of_kernels(model, start, full_step):
    """Kernels of the backbone stand still to the bit; its BatchNorm and the heads learn."""
    constant = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    groups = parameter_groups("batch_norm")
    optimizer = build_optimizer(0.9, 1e-4, constant, groups=groups)
    state = create_state(start.variables, optimizer, 0.1, seed=0)
    step = build(model, optimizer, frozen=[pattern for pattern, group in groups if group is None])
    after, _ = step(state, batch_of(8))
    before, backbone = state.params["backbone"], after.params["backbone"]
    assert not moved(before["conv1"], backbone["conv1"])
    assert not moved(before["layer1"]["0"]["conv1"], backbone["layer1"]["0"]["conv1"])
    assert moved(before["bn1"], backbone["bn1"])
    assert moved(state.params["classifier"], after.params["classifier"])
    flops = [
        each.lower(s, batch_of(8)).compile().cost_analysis()["flops"]
        for each, s in ((step, state), (full_step, start))
    ]
    # Of a step's three thirds the weights' gradient is missing, but for the heads' own.
    assert 0.6 < flops[0] / flops[1] < 0.8


def test_mixed_images_are_asked_for_both_labels(optimizer, start):
    """The loss, by NumPy from the probabilities that are wanted of each mixture."""
    model = GTN("tiny", 7, gate_reduction=4, gate_dropout=0.0, classifier_dropout=0.0)
    plain = evaluation_transform(MEAN, STD)
    transform = batch_transform(plain, 7, mixup=1.0)
    unoptimized = {"xla_backend_optimization_level": 0}  # compiles in half the time
    step = make_train_step(model, optimizer, transform, gtn_loss(0.2), batch_norm="running")
    step = jax.jit(step, compiler_options=unoptimized)
    batch = batch_of(8)
    _, metrics = step(start, batch)

    key = jax.random.fold_in(start.key, 0)  # of the step
    found = transform(jax.random.fold_in(key, 0), batch)  # of its images
    forward = jax.jit(lambda images: model.apply(start.variables, images, train=False))
    outputs = forward(found.images)
    wanted = np.asarray(found.targets)
    assert (wanted > 0).sum(axis=1).max() == 2
    losses = [-(wanted * np.asarray(jax.nn.log_softmax(logits))).sum(axis=1).mean()
              for logits in (outputs.logits, outputs.aux_logits)]  # fmt: skip
    np.testing.assert_allclose(metrics["loss"], losses[0] + 0.2 * losses[1], rtol=1e-5)


@pytest.fixture(scope="module")
def averaging_step(model, optimizer):
    return build(model, optimizer, ema_decay=0.5)


def test_running_mean_of_all_weights(model, optimizer, averaging_step):
    """a <- a + (1 - d) (w - a), d = min(0.5, (1 + s) / (10 + s)): 0.1, 2/11, 0.25, ..."""
    state = create_state(init_variables(model, 0), optimizer, 0.1, seed=0, averages=True)
    expected = jax.device_get(state.variables)
    for number in range(12):
        state, _ = averaging_step(state, batch_of(8, number))
        share = 1 - min(0.5, (1 + number) / (10 + number))
        trained = {"params": state.params, "batch_stats": state.batch_stats}
        expected = jax.tree.map(lambda a, w, s=share: a + s * (w - a), expected, trained)
    jax.tree.map(
        lambda found, wanted: np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6),
        state.variables, expected,
    )  # fmt: skip
    assert moved(state.variables["params"], state.params)


def test_a_running_mean_changes_nothing_in_training(optimizer, averaging_step, full_step, start):
    """Without what the mean alone needs, it is the program of a step without one, line by line."""
    averaged = create_state(start.variables, optimizer, 0.1, seed=0, averages=True)

    def text(step, state) -> str:
        def rest(state, batch):
            state, metrics = step(state, batch)
            return state.step, state.params, state.batch_stats, state.opt_state, metrics

        return jax.jit(rest).lower(state, batch_of(8)).as_text()

    assert text(averaging_step, averaged) == text(full_step, start)


def test_what_stands_still_is_its_own_mean(model, optimizer):
    state = start = create_state(init_variables(model, 0), optimizer, 0.1, seed=0, averages=True)
    frozen = build(model, optimizer, ema_decay=0.99, frozen=FROZEN, batch_norm="running")
    for number in range(3):
        state, _ = frozen(state, batch_of(8, number))
    assert not moved(start.params["backbone"], state.average["params"]["backbone"])
    assert not moved(start.batch_stats, state.average["batch_stats"])
    assert moved(start.params["gate"], state.average["params"]["gate"])


def test_refused_step_leaves_the_mean(model, optimizer, averaging_step):
    nan = float("nan")
    start = create_state(init_variables(model, 0), optimizer, nan, seed=0, averages=True)
    state = start.at_rate(jnp.float32(0.1))
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, state.params["classifier"])
    state = state.replace(params={**state.params, "classifier": broken})
    state, _ = averaging_step(state, batch_of(8))
    assert (int(state.step), bool(state.refused)) == (0, True)
    assert not moved(start.average, state.average)

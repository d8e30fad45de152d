"""The closed world of port.py: what is filled, what is left, and what every refusal says."""

import copy

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.weights.keymaps import to_torchvision
from gtn_jax.weights.port import looks_like, port


@pytest.fixture(scope="module")
def template():
    """Variables of a ResNet-20 GTN with every head."""
    return init_variables(GTN("resnet20", 10), seed=0)


@pytest.fixture
def tensors(template) -> dict[str, np.ndarray]:
    """Other numbers for its backbone, and a classifier of 1,000 classes, under torchvision's
    names."""
    changed = jax.tree.map(lambda leaf: leaf + np.float32(0.25), template)
    return to_torchvision(changed) | {
        "fc.weight": np.ones((1000, 64), np.float32),
        "fc.bias": np.ones(1000, np.float32),
        "bn1.num_batches_tracked": np.zeros((), np.int64),
    }


def shapes_of(backbone: str, **arguments):
    """Shapes of a GTN's variables."""
    model = GTN(backbone, 10, **arguments)
    image = jnp.zeros((1, 32, 32, 3))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), image, False))


def message(tensors, template, **arguments) -> str:
    """What `port` says when it refuses; at most three lines."""
    with pytest.raises(ValueError) as caught:
        port(tensors, template, **arguments)
    assert len(str(caught.value).splitlines()) <= 3
    return str(caught.value)


def test_fresh_heads_keep_their_start_and_the_backbone_is_filled(template, tensors):
    before = copy.deepcopy(tensors)
    start = jax.tree.map(np.array, template)
    ported = port(tensors, template)
    for head in ("gate", "classifier", "aux_classifier"):
        jax.tree.map(
            np.testing.assert_array_equal, ported["params"][head], template["params"][head]
        )
    for collection in ("params", "batch_stats"):
        jax.tree.map(
            lambda new, old: np.testing.assert_allclose(new, old + 0.25, rtol=1e-6),
            ported[collection]["backbone"],
            start[collection]["backbone"],
        )
    jax.tree.map(np.testing.assert_array_equal, tensors, before)
    jax.tree.map(np.testing.assert_array_equal, template, start)
    # A source that changes later must not change what was ported from it.
    tensors["bn1.weight"][:] = 7
    np.testing.assert_allclose(ported["params"]["backbone"]["bn1"]["scale"], 1.25)


def test_round_trip_through_torchvision_names():
    shapes = shapes_of("resnet18", gate="none", auxiliary=False, classifier_bias=True)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), shapes)
    tensors = to_torchvision(variables)
    assert tensors["conv1.weight"].shape == (64, 3, 7, 7)
    assert tensors["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert tensors["layer2.0.downsample.1.running_var"].shape == (128,)
    assert tensors["fc.weight"].shape == (10, 512) and tensors["fc.bias"].shape == (10,)
    assert all(array.flags.c_contiguous for array in tensors.values())
    ported = port(tensors, variables, heads="load")
    jax.tree.map(np.testing.assert_array_equal, ported, variables)


def test_gate_and_auxiliary_classifier_have_no_torchvision_name(template):
    names = to_torchvision(template)
    assert "fc.weight" in names
    assert not [name for name in names if "gate" in name or "aux" in name]


def test_stages_that_the_model_does_not_have_are_ignored(tensors):
    ported = port(tensors, shapes_of("resnet20", stages=2))
    assert sorted(ported["params"]["backbone"]) == ["bn1", "conv1", "layer1", "layer2"]


def test_dtypes_are_those_of_the_template(template, tensors):
    tensors["bn1.bias"] = tensors["bn1.bias"].astype(np.float64)
    tensors["bn1.weight"] = tensors["bn1.weight"].astype(ml_dtypes.bfloat16)
    norm = port(tensors, template)["params"]["backbone"]["bn1"]
    assert norm["bias"].dtype == norm["scale"].dtype == jnp.float32


def test_missing(template, tensors):
    del tensors["layer1.0.conv1.weight"]
    text = message(tensors, template, source="backbone.safetensors")
    assert text == (
        "backbone.safetensors: 1 tensors do not fit the model (1 missing), read as torchvision "
        "names, shapes as in PyTorch.\n"
        "backbone.layer1.0.conv1.kernel: expected (16, 16, 3, 3), found nothing\n"
        "The file looks like resnet20: check model.backbone and model.stages, or choose other "
        "weights."
    )


def test_misshapen(template, tensors):
    tensors["conv1.weight"] = np.ones((16, 1, 3, 3), np.float32)
    text = message(tensors, template)
    assert "(1 misshapen)" in text
    assert "conv1.weight: expected (16, 3, 3, 3), found (16, 1, 3, 3)" in text


def test_transposed_layout_is_misshapen(template, tensors):
    tensors["conv1.weight"] = tensors["conv1.weight"].transpose(2, 3, 1, 0)
    assert "expected (16, 3, 3, 3), found (3, 3, 3, 16)" in message(tensors, template)


def test_extra(template, tensors):
    tensors["layer1.7.conv1.weight"] = np.ones((16, 16, 3, 3), np.float32)
    tensors["bn1.momentum"] = np.ones((16,), np.float32)
    text = message(tensors, template)
    assert "2 tensors do not fit the model (2 extra)" in text
    assert "layer1.7.conv1.weight: expected no such tensor, found (16, 16, 3, 3)" in text
    assert "bn1.momentum: expected no such tensor, found (16,)" in text


def test_twice(template, tensors):
    tensors["module.bn1.weight"] = tensors["bn1.weight"]
    assert "module.bn1.weight: expected once" in message(tensors, template)


def test_another_depth_lists_five_counts_all_and_names_the_right_one(tensors):
    text = message(tensors, shapes_of("resnet32"))
    # Two blocks fewer in each of three stages, ten leaves a block.
    assert "60 tensors do not fit the model (60 missing)" in text
    assert text.splitlines()[1].count("expected") == 5
    assert "looks like resnet20" in text


def test_looks_like(template):
    assert looks_like(to_torchvision(template), "torchvision") == "resnet20"
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes_of("resnet50"))
    tensors = to_torchvision(zeros)
    assert looks_like(tensors, "torchvision") == "resnet50"
    three = {name: value for name, value in tensors.items() if not name.startswith("layer4")}
    assert looks_like(three, "torchvision") == "resnet50 with stages=3"
    assert looks_like({"fc.weight": np.zeros((2, 2))}, "torchvision") is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(template, tensors, value):
    tensors["layer2.1.bn2.weight"][3] = value
    text = message(tensors, template)
    assert "layer2.1.bn2.weight: expected finite values, found 1 NaN or infinite of 32" in text


def test_beyond_float32(template, tensors):
    tensors["bn1.weight"] = np.full(16, 1e300)
    assert "16 NaN or infinite of 16" in message(tensors, template)


def test_other_unusable_values(template, tensors):
    tensors["conv1.weight"] = np.zeros((16, 3, 3, 3), np.float32)
    tensors["bn1.running_var"] = np.full(16, -1, np.float32)
    tensors["bn1.weight"] = np.ones(16, np.int8)
    text = message(tensors, template)
    assert "(3 unusable)" in text
    assert "conv1.weight: expected trained values, found only zeros" in text
    assert "bn1.running_var: expected variances, found -1" in text
    assert "bn1.weight: expected floats, found int8" in text


def test_load_wants_every_head_and_uses_everything(template, tensors):
    text = message(tensors, template, heads="load")
    assert "fc.weight: expected (10, 64), found (1000, 64)" in text
    assert "fc.bias: expected no such tensor, found (1000,)" in text
    assert "gate.fc1.kernel: expected (4, 64), found nothing" in text
    assert "(1 misshapen, 1 extra, 3 missing)" in text


def test_unknown_policy_family_and_names(template, tensors):
    with pytest.raises(ValueError, match="unknown policy for heads 'lod'; did you mean load"):
        port(tensors, template, heads="lod")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="unknown family of weight names 'torchvison'; did you"):
        port(tensors, template, family="torchvison")
    assert "x: these are not the names of a ResNet that is known here: blocks.0.attn" in message(
        {"blocks.0.attn": np.ones(3)}, template, source="x"
    )
    assert "no tensors at all" in message({}, template)

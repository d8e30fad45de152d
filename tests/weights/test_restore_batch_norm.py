"""Folded BatchNorm: recognized, refused without images, and measured back on some."""

import functools

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from gtn_jax.cli.main import main
from gtn_jax.models.gtn import GTN, variable_shapes
from gtn_jax.weights.pretrained import create
from gtn_jax.weights.read import read_safetensors
from gtn_jax.weights.restore_batch_norm import norm_after, unfold

# Projections and a 7x7 stem, two stages of four.
MODEL = GTN("resnet18", 5, gate="none", stages=2, auxiliary=False, classifier_bias=True)
LEAVES = ("weight", "bias", "running_mean", "running_var")


def names_of(stages: int = 2) -> dict[str, str]:
    """Convolution -> the norm after it, in torchvision's words, spelled out for ResNet-18."""
    pairs = {"conv1": "bn1"}
    for stage in range(1, stages + 1):
        for block in (0, 1):
            for number in (1, 2):
                block_name = f"layer{stage}.{block}"
                pairs[f"{block_name}.conv{number}"] = f"{block_name}.bn{number}"
        if stage > 1:
            pairs[f"layer{stage}.0.downsample.0"] = f"layer{stage}.0.downsample.1"
    return pairs


@pytest.fixture(scope="module")
def trained(rule) -> dict[str, np.ndarray]:
    """Drawn numbers under torchvision's names, BatchNorm and all."""
    shapes = {"fc.weight": (5, 128), "fc.bias": (5,), "conv1.weight": (64, 3, 7, 7)}
    for convolution, norm in names_of().items():
        stage = 2 if "layer2" in convolution else 1
        first = "layer2.0" in convolution and not convolution.endswith("conv2")
        size = 1 if "downsample" in convolution else 3
        channels = 64 * stage
        shape = (channels, 64 if first else channels, size, size)
        shapes.setdefault(f"{convolution}.weight", shape)
        shapes |= {f"{norm}.{leaf}": (channels,) for leaf in LEAVES}
    return rule.draw(shapes, seed=6)


@pytest.fixture(scope="module")
def folded(trained) -> dict[str, np.ndarray]:
    """The same function, as tools for inference write it."""
    tensors = {name: trained[name] for name in ("fc.weight", "fc.bias")}
    for convolution, norm in names_of().items():
        scale, bias, mean, var = (np.float64(trained[f"{norm}.{leaf}"]) for leaf in LEAVES)
        factor = scale / np.sqrt(var + 1e-5)
        kernel = trained[f"{convolution}.weight"] * factor[:, None, None, None]
        tensors[f"{convolution}.weight"] = kernel.astype(np.float32)
        tensors[f"{convolution}.bias"] = (bias - mean * factor).astype(np.float32)
    return tensors


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Eight images of 32 x 32."""
    return np.random.default_rng(1).standard_normal((8, 32, 32, 3)).astype(np.float32)


def variables_of(tensors, tmp_path):
    """As a user loads them: through a file."""
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
    save_file(tensors, path)
    arguments = {"stages": 2, "auxiliary": False, "classifier_bias": True}
    return create("resnet18", 5, gate="none", weights=path, heads="load", **arguments)[1]


@functools.partial(jax.jit, static_argnums=2)
def forward(variables, images, train):
    model = MODEL.clone(classifier_dropout=0.0, gate_dropout=0.0)
    return model.apply(variables, images, train, mutable=["batch_stats"])[0].logits


def logits(variables, images, train=False):
    """Evaluation, or training mode without dropout."""
    return np.asarray(forward(variables, images, train))


def relative(found, expected) -> float:
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))


def test_evaluation_is_unchanged_and_training_starts_from_the_same_function(
    trained, folded, images, tmp_path
):
    expected = logits(variables_of(trained, tmp_path), images)
    unfolded = variables_of(unfold(folded, [images]), tmp_path)
    assert relative(logits(unfolded, images), expected) < 1e-5
    # On other images too: it is the same function, not a fit.
    others = np.flip(images, 1) + np.float32(0.5)
    was = logits(variables_of(trained, tmp_path), others)
    assert relative(logits(unfolded, others), was) < 1e-5
    # Statistics of this very batch are what was measured.
    assert relative(logits(unfolded, images, train=True), expected) < 1e-4
    # The numbers from before folding were of another distribution: there the two modes differ.
    assert relative(logits(variables_of(trained, tmp_path), images, train=True), expected) > 0.1


def test_statistics_of_the_first_convolution_by_hand(folded, images):
    """Over all positions of all images, batches of unequal size together."""
    torch = pytest.importorskip("torch")
    maps = torch.nn.functional.conv2d(
        torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(folded["conv1.weight"]), stride=2, padding=3,
    ).double()  # fmt: skip
    mean, var = maps.mean((0, 2, 3)).numpy(), maps.var((0, 2, 3), correction=0).numpy()
    found = unfold(folded, [images[:5], images[5:]])
    np.testing.assert_allclose(found["bn1.running_mean"], mean, atol=1e-6)
    np.testing.assert_allclose(found["bn1.running_var"], var, rtol=1e-5)
    np.testing.assert_allclose(found["bn1.weight"], np.sqrt(var + 1e-5), rtol=1e-5)
    np.testing.assert_allclose(found["bn1.bias"], folded["conv1.bias"] + mean, atol=1e-6)
    np.testing.assert_array_equal(found["conv1.weight"], folded["conv1.weight"])
    np.testing.assert_array_equal(found["fc.bias"], folded["fc.bias"])
    assert sorted(found) == sorted(
        [*("fc.weight", "fc.bias"), *(f"{name}.weight" for name in names_of())]
        + [f"{norm}.{leaf}" for norm in names_of().values() for leaf in LEAVES]
    )


def test_a_channel_that_is_always_zero(folded, images, tmp_path):
    """Its variance is 0, and its output stays the bias."""
    dead = folded | {"layer1.0.conv1.weight": folded["layer1.0.conv1.weight"].copy()}
    dead["layer1.0.conv1.weight"][7] = 0
    found = unfold(dead, [images])
    assert found["layer1.0.bn1.running_var"][7] == 0
    # What scales it back is the root of that and 1e-5.
    assert found["layer1.0.bn1.weight"][7] == pytest.approx(0.00316228, rel=1e-5)
    assert found["layer1.0.bn1.bias"][7] == dead["layer1.0.conv1.bias"][7]
    trained = logits(variables_of(found, tmp_path), images, train=True)
    assert relative(trained, logits(variables_of(found, tmp_path), images)) < 1e-4


def test_norms_after_convolutions():
    assert {name: norm_after(name) for name in names_of()} == names_of()


def test_refusals(trained, folded, images, tmp_path):
    path = tmp_path / "folded.safetensors"
    save_file(folded, path)
    with pytest.raises(ValueError, match="folded into the convolutions.*\\n.*\\n.*images=FOLDER"):
        create("resnet18", 3, weights=path, stages=2)
    with pytest.raises(ValueError, match="x: BatchNorm is folded in; give images to measure it on"):
        unfold(folded, [], "x")
    with pytest.raises(ValueError, match="x: no BatchNorm is folded in here"):
        unfold(trained, [images], "x")
    with pytest.raises(ValueError, match="no BatchNorm is folded in here"):
        unfold({"blocks.0.attn": np.ones(3)}, [images])
    broken = dict(folded)
    del broken["layer1.1.conv2.bias"]
    with pytest.raises(ValueError, match=r"4 tensors do not fit the model \(4 missing\)"):
        unfold(broken, [images])
    with pytest.raises(ValueError, match="folded, and of none of"):
        unfold({"conv1.weight": np.ones((9, 3, 3, 3)), "conv1.bias": np.ones(9)}, [images])


def test_from_the_shell(folded, tmp_path, capsys):
    source, out, photos = (tmp_path / name for name in ("in.safetensors", "out.safetensors", "p"))
    save_file(folded, source)
    photos.mkdir()
    arguments = ["convert", str(source), str(out), "--images", str(photos), "--image_size", "32"]
    assert main(arguments) == 1
    assert "`--images FOLDER`" in capsys.readouterr().err
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(photos / f"{number}.png")
    assert main(arguments) == 0
    assert "BatchNorm measured on 3 images" in capsys.readouterr().out
    normalized = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = unfold(folded, [normalized.astype(np.float32)])
    found = read_safetensors(out)
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor, rtol=1e-4, atol=1e-5)


def test_shapes_of_the_model_are_those_of_the_names(trained):
    """That the hand-spelled names above are the whole backbone."""
    leaves = jax.tree.leaves(variable_shapes(MODEL))
    assert len(leaves) == len(trained)

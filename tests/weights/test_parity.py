"""Ported backbones give PyTorch's numbers: every map and the logits, drawn and real weights."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from gtn_jax.models.backbones import build_backbone
from gtn_jax.models.gtn import GTN
from gtn_jax.weights.convert import convert
from gtn_jax.weights.port import port
from gtn_jax.weights.pretrained import create
from gtn_jax.weights.read import read_pickle, read_safetensors

IMAGENET_LIKE = {
    "resnet18": {"blocks": (2, 2, 2, 2)},
    "resnet50": {"blocks": (3, 4), "bottleneck": True},
}


@pytest.fixture(autouse=True)
def recorder(agrees, request, monkeypatch):
    """Every comparison of this file makes a row of `make parity`, under its test's name."""
    what = request.node.name.removeprefix("test_").replace("_", " ")

    def record(difference: float) -> None:
        agrees(what, "a PyTorch forward", difference, 1e-4)

    monkeypatch.setitem(globals(), "record", record)


def record(difference: float) -> None:
    """Assert and note; each test has its own (`recorder`)."""
    raise AssertionError(difference)


def assert_close(found, expected):
    """Within 1e-4 of the largest expected value."""
    expected = expected.detach().numpy()
    assert found.shape == expected.shape
    record(float(np.max(np.abs(np.asarray(found) - expected)) / np.max(np.abs(expected))))


def images_of(side: int) -> np.ndarray:
    """Two normal images, NHWC."""
    return np.random.default_rng(3).standard_normal((2, side, side, 3)).astype(np.float32)


def assert_same_maps(variables, name: str, images: np.ndarray, torch_maps):
    """Compare our backbone with PyTorch's maps (NCHW), stage by stage."""
    backbone = build_backbone(name, len(torch_maps))
    part = {collection: tree["backbone"] for collection, tree in variables.items()}
    maps = jax.jit(lambda v, x: backbone.apply(v, x, use_running_average=True))(part, images)
    for found, expected in zip(maps, torch_maps, strict=True):
        assert_close(found, expected.permute(0, 2, 3, 1))


def run_torch(network, tensors: dict[str, np.ndarray], images: np.ndarray):
    """Load `tensors` strictly and run in evaluation mode."""
    import torch

    # Real files of the time have no `num_batches_tracked`, which evaluation does not use.
    state = network.state_dict() | {
        name.removeprefix("module."): torch.from_numpy(np.array(array))
        for name, array in tensors.items()
    }
    network.load_state_dict(state)
    network.eval()
    with torch.no_grad():
        return network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))


def drawn(rule, network) -> dict[str, np.ndarray]:
    """Numbers for everything in the state dict of `network`."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    return rule.draw(shapes, seed=1)


@pytest.mark.parametrize("name", IMAGENET_LIKE)
def test_backbone_under_torchvision_names(name, rule, reference):
    network = reference.TorchResNet(**IMAGENET_LIKE[name])
    tensors, images = drawn(rule, network), images_of(64)
    maps, _ = run_torch(network, tensors, images)
    model = GTN(name, 3, gate="none", stages=len(maps))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images[:1], False))
    assert_same_maps(port(tensors, shapes), name, images, maps)


def cifar_case(reference, depth: int):
    """PyTorch's network and our model with its variables' shapes, both with a 10-class head."""
    blocks = ((depth - 2) // 6,) * 3
    network = reference.TorchResNet(blocks, small=True, width=16, classes=10, head="linear")
    model = GTN(f"resnet{depth}", 10, gate="none", classifier_bias=True, auxiliary=False)
    image = images_of(32)[:1]
    return network, model, jax.eval_shape(lambda: model.init(jax.random.key(0), image, False))


def assert_same_cifar(network, model, shapes, tensors):
    """Compare maps and logits."""
    images = images_of(32)
    maps, logits = run_torch(network, tensors, images)
    variables = port(tensors, shapes, heads="load")
    assert_same_maps(variables, model.backbone, images, maps)
    outputs = jax.jit(lambda v, x: model.apply(v, x, False))(variables, images)
    assert_close(outputs.logits, logits)


def test_cifar_drawn(rule, reference):
    network, model, shapes = cifar_case(reference, 20)
    tensors = {f"module.{name}": array for name, array in drawn(rule, network).items()}
    assert_same_cifar(network, model, shapes, tensors)


@pytest.mark.parametrize("file", ["resnet20-12fca82f.th", "resnet32-d509ac18.th"])
def test_cifar_real(file, reference, shared_weights, tmp_path):
    network, model, shapes = cifar_case(reference, int(file[6:8]))
    assert_same_cifar(network, model, shapes, read_pickle(shared_weights / file))
    # And the whole way a user takes: convert, then create.
    path = convert(shared_weights / file, tmp_path / "cifar.safetensors").path
    arguments = {"gate": "none", "classifier_bias": True, "auxiliary": False}
    _, variables = create(model.backbone, 10, weights=path, heads="load", **arguments)
    expected = port(read_pickle(shared_weights / file), shapes, heads="load")
    jax.tree.map(np.testing.assert_array_equal, variables, expected)


def test_three_stages_of_imagenet_real(reference, shared_weights):
    path = shared_weights / "resnet18_imagenet_three_stages.safetensors"
    images = images_of(64)
    maps, _ = run_torch(reference.TorchResNet((2, 2, 2)), read_safetensors(path), images)
    model, variables = create("resnet18", 5, weights=path, stages=3)
    assert_same_maps(variables, "resnet18", images, maps)
    outputs = jax.jit(lambda v, x: model.apply(v, x, False))(variables, images)
    assert_close(outputs.features, maps[-1].mean((2, 3)))
    assert outputs.aux_logits.shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "depths", "sizes"),
    [("resnet18", (2, 2, 2, 2), (64, 128, 256, 512)), ("resnet50", (3, 4), (256, 512))],
)
def test_huggingface_names(name, depths, sizes, rule, huggingface, tmp_path):
    """From a file under transformers' names to PyTorch's logits."""
    import torch

    network = huggingface.resnet(depths, sizes, name == "resnet50", classes=7)
    tensors, images = drawn(rule, network), images_of(64)
    network.load_state_dict({key: torch.from_numpy(np.array(t)) for key, t in tensors.items()})
    with torch.no_grad():
        logits = huggingface.forward(
            network.eval(), torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        )
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    arguments = {"gate": "none", "auxiliary": False, "classifier_bias": True, "stages": len(depths)}
    model, variables = create(name, 7, weights=path, heads="load", **arguments)
    outputs = jax.jit(lambda v, x: model.apply(v, x, False))(variables, images)
    assert_close(outputs.logits, logits)


def test_huggingface_backbone_of_another_depth_is_named(rule, huggingface, tmp_path):
    network = huggingface.resnet((2, 2, 2, 2), (64, 128, 256, 512), False, classes=7)
    path = tmp_path / "model.safetensors"
    save_file(drawn(rule, network), path)
    with pytest.raises(ValueError, match="read as huggingface names.*\n.*\n.*looks like resnet18"):
        create("resnet34", 3, weights=path)

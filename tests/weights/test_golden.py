"""Our ResNet-50 GTN against the authors' own model: forward, loss, every gradient.

The gradients need two tests. This case has 38 million ReLUs; rounding in float32 decides 15 of
them the other way than float64 does, and each such decision is a jump in the gradients. Hence
PyTorch in float32 differs from itself (memory layout, another machine) by up to 2e-2 of a
gradient's norm, although its losses agree to 1e-6. So float64, where both agree about every ReLU,
shows that the gradients are the same function, and the stored float32 digests are compared within
what PyTorch's own two layouts differ by.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from gtn_jax.models.gtn import GTN
from gtn_jax.weights import keymaps
from gtn_jax.weights.port import port

pytestmark = [pytest.mark.slow, pytest.mark.optimized]

AUTHORS = "the authors' stored numbers"


@pytest.fixture(scope="module")
def stored(rule):
    """The authors' numbers."""
    return np.load(rule.STORED)


@pytest.fixture(scope="module")
def drawn(rule, stored) -> dict[str, np.ndarray]:
    """Weights under the authors' names."""
    seed, classes = int(stored["meta/seed"]), int(stored["meta/classes"])
    return rule.draw(rule.gtn_shapes(classes), seed)


@pytest.fixture(scope="module")
def examples(rule, stored) -> tuple[np.ndarray, np.ndarray]:
    """Images NHWC and labels."""
    return rule.inputs(*(int(stored[f"meta/{key}"]) for key in ("seed", "batch", "classes")))


def build(dtype=jnp.float32) -> GTN:
    """The authors' model without dropout."""
    return GTN("resnet50", 10, gate_dropout=0.0, classifier_dropout=0.0, dtype=dtype)


@pytest.fixture(scope="module")
def variables(drawn):
    """Ported from a checkpoint of the authors' script: every name with "module."."""
    model, image = build(), np.zeros((1, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image, False))
    tensors = {f"module.{name}": array for name, array in drawn.items()}
    return port(tensors, shapes, heads="load")


def relative(found, expected) -> float:
    """Largest difference relative to the largest expected value."""
    return float(np.max(np.abs(np.asarray(found) - expected)) / np.max(np.abs(expected)))


def loss_and_gradients(model, variables, images, labels):
    """Training mode: loss, outputs, and gradients under the authors' names and layouts."""

    def loss_of(params):
        outputs, _ = model.apply(
            variables | {"params": params}, images, True, mutable="batch_stats"
        )
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels
        targets = jnp.asarray(labels, jnp.int32)
        main = cross_entropy(outputs.logits, targets).mean()
        return main + 0.2 * cross_entropy(outputs.aux_logits, targets).mean(), outputs

    compute = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    (loss, outputs), gradients = compute(variables["params"])
    return loss, outputs, traverse_util.flatten_dict(gradients)


def under_torch_names(leaves, names) -> dict[str, np.ndarray]:
    """Gradients by path -> by the authors' names, in PyTorch's layout, each used exactly once."""
    gradients = {}
    for name in names:
        path = keymaps.our_path(name, "gtn_authors")
        assert path is not None and path[0] == "params"
        gradients[name] = keymaps.to_torch_layout(np.asarray(leaves.pop(path[1:])))
    assert not leaves
    return gradients


def torch_gradients(reference, drawn, examples, double=False, channels_last=False):
    """The same of the PyTorch reference."""
    import torch

    network = reference.TorchGTN(10)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in drawn.items()})
    network.to(torch.float64 if double else torch.float32).train()
    images = torch.from_numpy(examples[0].transpose(0, 3, 1, 2).copy())
    if channels_last:
        network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    logits, aux_logits = network(images.double() if double else images)
    labels, cross_entropy = torch.from_numpy(examples[1]), torch.nn.functional.cross_entropy
    (cross_entropy(logits, labels) + 0.2 * cross_entropy(aux_logits, labels)).backward()
    return {name: value.grad.numpy() for name, value in network.named_parameters()}


def distances(found, expected) -> dict[str, float]:
    """Norm of each difference relative to the norm of what is expected."""
    return {
        name: float(np.linalg.norm(found[name] - array) / np.linalg.norm(array))
        for name, array in expected.items()
    }


def test_evaluation(stored, variables, examples, agrees):
    model = build()
    outputs = jax.jit(lambda v, x: model.apply(v, x, False))(variables, examples[0])
    agrees(
        "GTN evaluation: pooled features",
        AUTHORS,
        relative(outputs.features, stored["eval/pooled"]),
        1e-4,
    )
    agrees("GTN evaluation: gate", AUTHORS, relative(outputs.gate, stored["eval/gate"]), 1e-4)
    agrees("GTN evaluation: logits", AUTHORS, relative(outputs.logits, stored["eval/logits"]), 1e-4)
    agrees(
        "GTN evaluation: auxiliary logits",
        AUTHORS,
        relative(outputs.aux_logits, stored["eval/aux_logits"]),
        1e-4,
    )


def test_reference_is_the_authors_model(stored, drawn, examples, reference, agrees):
    """What the gradients in double precision are compared with gives the stored numbers itself."""
    torch = pytest.importorskip("torch")
    network = reference.TorchGTN(10)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in drawn.items()})
    with torch.no_grad():
        logits, aux_logits = network.eval()(torch.from_numpy(examples[0].transpose(0, 3, 1, 2)))
    difference = relative(logits, stored["eval/logits"])
    agrees("our PyTorch copy of their model: logits", AUTHORS, difference, 1e-5)
    difference = relative(aux_logits, stored["eval/aux_logits"])
    agrees("our PyTorch copy of their model: auxiliary logits", AUTHORS, difference, 1e-5)


def test_training_and_gradients_of_the_authors(
    rule, stored, variables, examples, drawn, reference, agrees
):
    loss, outputs, leaves = loss_and_gradients(build(), variables, *examples)
    agrees("GTN training: loss", AUTHORS, relative(loss, stored["train/loss"]), 1e-4)
    difference = relative(outputs.logits, stored["train/logits"])
    agrees("GTN training: logits", AUTHORS, difference, 1e-4)
    difference = relative(outputs.aux_logits, stored["train/aux_logits"])
    agrees("GTN training: auxiliary logits", AUTHORS, difference, 1e-4)

    names = [key.removeprefix("grad/") for key in stored.files if key.startswith("grad/")]
    assert len(names) == 163
    one, other = (
        torch_gradients(reference, drawn, examples, channels_last=c) for c in (False, True)
    )
    own = distances(other, one)
    excess = {}
    for name, gradient in under_torch_names(leaves, names).items():
        digest = rule.digest(gradient, name, int(stored["meta/seed"]))
        error = rule.digest_error(digest, stored[f"grad/{name}"], gradient.size)
        excess[name] = error / max(1e-3, 5 * own[name])
    agrees("163 float32 gradients, over max(1e-3, 5 layouts)", AUTHORS, max(excess.values()), 1.0)


def test_every_gradient_in_double_precision(variables, examples, drawn, reference, agrees):
    expected = torch_gradients(reference, drawn, examples, double=True)
    # Flax's BatchNorm computes statistics in promote_types(x, float32), refused by "strict".
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        double = {
            collection: tree | {"backbone": jax.tree.map(jnp.float64, tree["backbone"])}
            for collection, tree in variables.items()
        }
        images = jnp.asarray(examples[0], jnp.float64)
        _, _, leaves = loss_and_gradients(build(jnp.float64), double, images, examples[1])
        error = distances(under_torch_names(leaves, expected), expected)
    # The heads are float32 in any case.
    agrees("163 float64 gradients", "our PyTorch copy of their model", max(error.values()), 1e-6)

"""Images on the devices: the same batches as from the host, and nothing between the devices."""

import io

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from PIL import Image

from gtn_jax.data import images as data_images
from gtn_jax.data import pipeline
from gtn_jax.data.augment import training_transform
from gtn_jax.data.images import View, load, open_images
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import whole
from gtn_jax.data.targets import batch_transform
from gtn_jax.devices import data_mesh, put_batch, replicate
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.training.image_store import (
    RowBatch,
    make_resident,
    ordered_batches,
    with_resident_images,
)
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step
from tests.collectives import collectives

WHOLE = View(image_size=8, short_side=8, whole=True)
SQUARE = View(image_size=8, short_side=8)


class Files:
    """A data source of PNG files of noise, 8 pixels high or wide, up to 15 long."""

    def __init__(self, images: int):
        generator = np.random.default_rng(0)
        self.examples = []
        for number in range(images):
            size = (8, 8 + number % 8) if number % 2 else (8 + number % 7, 8)
            pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            self.examples.append({"image": file.getvalue(), "label": number % 5, "file": b"x"})

    def __len__(self):
        return len(self.examples)

    def __getitems__(self, positions):
        return [self.examples[position] for position in positions]


@pytest.fixture(scope="module")
def part():
    return whole(Split(Files(20), tuple("abcde"), "train"))


def same(found, expected) -> None:
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert [a.dtype for a in found if a is not None] == [a.dtype for a in expected if a is not None]


@pytest.mark.parametrize("view", [WHOLE, SQUARE], ids=["whole", "square"])
@pytest.mark.parametrize("devices", [1, 4])
def test_batches_are_those_of_the_host(part, view, devices, monkeypatch):
    """Also where the images come in pieces, where a batch does not divide, and where it is fill."""
    monkeypatch.setattr(data_images, "_READ_AT_ONCE", 6)
    mesh = data_mesh(devices)
    host = load(part, view)
    images = make_resident(open_images(part, view), mesh)
    assert images.pixels.nbytes == images.padded_bytes == host.padded_bytes
    assert images.pixels.sharding.is_fully_replicated
    take = jax.jit(RowBatch.gather)
    for rows in (np.array([19, 0, 7, 7, 3, 12, 18, 1]), np.array([5, 2, 11])):
        batch = images.take(rows)
        assert isinstance(batch, RowBatch)
        taken = take(put_batch(batch, mesh))
        same(taken, host.take(rows))
        divides = len(rows) % devices == 0
        shares = {shard.data.shape[0] for shard in taken.images.addressable_shards}
        assert shares == {len(rows) // devices if divides else len(rows)}
    in_order = [list(ordered_batches(each, 8, mesh)) for each in (images, host)]
    assert [batch.mask.sum() for batch in in_order[0]] == [8, 8, 4]
    for found, expected in zip(*in_order, strict=True):
        real = np.asarray(expected.mask) > 0
        same(*(jax.tree.map(lambda a, real=real: a[real], b) for b in (found, expected)))


def test_position_and_order_are_those_of_the_host(part):
    """The data position of a run on the devices is that of a run on the host."""
    host = load(part, WHOLE)
    images = make_resident(open_images(part, WHOLE), data_mesh(1))
    batches = [pipeline.training_batches(each, 6, "keep", seed=1) for each in (host, images)]
    for _ in range(9):
        expected, found = map(next, batches)
        same(host.gather(found.rows), expected)
    assert batches[0].get_state() == batches[1].get_state()


@pytest.mark.parametrize("whole_step", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_nothing_more_crosses_between_devices(part, whole_step):
    """Steps on 4 devices, crops and all: as many collectives of as many bytes as from the host.

    Images that are split over the devices are the counterexample: they would have to cross.
    """
    mesh = data_mesh(4)
    model = GTN("tiny", 5, gate_reduction=4)
    constant = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    optimizer = build_optimizer(0.9, 1e-4, constant, frozen_steps=0)
    transform = training_transform((0.5,) * 3, (0.25,) * 3, True, 0, 8, random_resized_crop=True)
    step = make_train_step(
        model,
        optimizer,
        batch_transform(transform),
        gtn_loss(0.2),
        frozen=[] if whole_step else ["backbone/.*"],
        batch_norm="batch" if whole_step else "running",
    )
    state = replicate(create_state(init_variables(model, 0), optimizer, 0.1, seed=3), mesh)
    host = load(part, WHOLE)
    images = make_resident(open_images(part, WHOLE), mesh)
    batches = [put_batch(each.take(np.arange(8)), mesh) for each in (host, images)]

    plain = jax.jit(step).lower(state, batches[0]).compile()
    resident = jax.jit(with_resident_images(step)).lower(state, batches[1]).compile()
    expected = sorted(collectives(plain.as_text()))
    assert expected
    assert sorted(collectives(resident.as_text())) == expected

    take = jax.jit(RowBatch.gather)
    assert collectives(take.lower(batches[1]).compile().as_text()) == []
    rows = NamedSharding(mesh, PartitionSpec("data"))
    split = batches[1].replace(
        pixels=jax.device_put(images.pixels, rows), sizes=jax.device_put(images.sizes, rows)
    )
    assert collectives(take.lower(split).compile().as_text()) != []

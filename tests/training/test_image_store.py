"""Where images are kept: what fits decides, one line says so, and what cannot be is refused."""

import types

import numpy as np
import pytest

from gtn_jax.data import images as data_images
from gtn_jax.data.sources import open_splits
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import choose, whole
from gtn_jax.devices import data_mesh
from gtn_jax.training import image_store
from gtn_jax.training.image_store import (
    ResidentImages,
    SharedImages,
    free_bytes,
    place_images,
)
from tests.png_files import PngFiles

MIB = 2**20


@pytest.fixture(scope="module")
def images(data_dir):
    """40 digits of 32 x 32: 120 KiB."""
    from gtn_jax.config import DataConfig

    part = choose(open_splits("digits", data_dir), DataConfig(train_images_per_class=4), 0)["train"]
    return data_images.open_images(part, data_images.View(32, 32))


def where(images) -> str:
    kinds = {
        ResidentImages: "device",
        data_images.ImagesInMemory: "host",
        data_images.Images: "stream",
    }
    return kinds[type(images)]


def test_memory_of_a_cpu_is_shared_by_its_devices(images, monkeypatch):
    """120 KiB a copy: one fits into 2 GiB; four do not fit into 400 KiB; one not into 100."""
    placed = place_images(images, "auto", data_mesh(4))
    assert where(placed) == "device"
    assert placed.place == "on the device: 0.469 MiB fit into 2 GiB of memory"
    monkeypatch.setattr(data_images, "MEMORY_LIMIT_BYTES", 400 * 1024)
    assert where(place_images(images, "auto", data_mesh(1))) == "device"
    placed = place_images(images, "auto", data_mesh(4))
    assert where(placed) == "host"
    assert placed.place == (
        "in memory: 0.117 MiB fit into 0.391 MiB of memory, "
        "on the device 0.469 MiB padded do not fit into 0.391 MiB of memory"
    )
    monkeypatch.setattr(data_images, "MEMORY_LIMIT_BYTES", 100 * 1024)
    placed = place_images(images, "auto", data_mesh(1))
    assert where(placed) == "stream"
    assert placed.place.startswith("streamed: 0.117 MiB do not fit into 0.0977 MiB of memory, on")


@pytest.fixture
def accelerator(monkeypatch):
    """Call it with what the device has free: then the CPU counts as one."""

    def accelerator(free: int | None) -> None:
        monkeypatch.setattr(image_store, "_is_cpu", lambda mesh: False)
        monkeypatch.setattr(image_store, "free_bytes", lambda mesh: free)

    return accelerator


@pytest.mark.parametrize(
    ("free", "store", "place"),
    [
        (MIB, "device", "on the device: 0.117 MiB fit into 0.25 MiB, 1/4 of what it has free"),
        (
            MIB // 4,
            "host",
            "in memory: 0.117 MiB fit into 2 GiB of memory, on the device 0.117 MiB padded "
            "do not fit into 0.0625 MiB, 1/4 of what it has free",
        ),
        (
            None,
            "host",
            "in memory: 0.117 MiB fit into 2 GiB of memory, on the device 0.117 MiB padded "
            "do not fit into a device that does not tell its memory",
        ),
    ],
)
def test_a_quarter_of_an_accelerators_free_memory(images, accelerator, free, store, place):
    accelerator(free)
    placed = place_images(images, "auto", data_mesh(4))  # a copy each, and a memory each
    assert (where(placed), placed.place) == (store, place)


@pytest.mark.parametrize("store", ["device", "host", "stream"])
def test_a_config_may_say_where(images, store, monkeypatch):
    """Beyond what would be chosen, too."""
    monkeypatch.setattr(data_images, "MEMORY_LIMIT_BYTES", 0)
    placed = place_images(images, store, data_mesh(1))
    assert where(placed) == store
    assert placed.place.endswith(": 0.117 MiB, as data.image_store says")
    np.testing.assert_array_equal(placed.gather(np.array([3])).labels, images.part.labels[[3]])


def test_where_they_cannot_be_is_refused(images, accelerator, monkeypatch):
    monkeypatch.setattr(image_store, "_host_bytes", lambda: 100 * 1024)
    for store in ("device", "host"):
        with pytest.raises(ValueError, match=rf"data.image_store: {store} does not work for 0.117 M"
                           r"iB of images, with 0.0977 MiB of memory in this machine"):  # fmt: skip
            place_images(images, store, data_mesh(1))
    accelerator(64 * 1024)
    with pytest.raises(
        ValueError, match=r"with 0.0625 MiB free on a device; expected stream or auto"
    ):
        place_images(images, "device", data_mesh(1))


def test_free_memory_is_that_of_the_fullest_device():
    def device(stats):
        return types.SimpleNamespace(memory_stats=lambda: stats)

    def mesh(*stats):
        return types.SimpleNamespace(local_devices=[device(each) for each in stats])

    full, empty = ({"bytes_limit": 100, "bytes_in_use": used} for used in (70, 10))
    assert free_bytes(mesh(empty, full)) == 30
    assert free_bytes(mesh(empty, None)) is None
    assert free_bytes(mesh({"bytes_in_use": 3})) is None


def test_of_many_processes_each_decodes_its_own(monkeypatch):
    files = PngFiles([(8, 8)] * 4)
    images = data_images.open_images(
        whole(Split(files, tuple("abcd"), "train")), data_images.View(8, 8)
    )
    monkeypatch.setattr(image_store, "own_rows", lambda count, mesh: slice(count // 2, count))
    second = SharedImages(**data_images.fields_of(images), mesh=data_mesh(1))
    files.read.clear()
    batch = second.take(np.array([3, 0, 1, 2]))
    assert files.read == [1, 2]
    # The third channel is the number of the file; what others decode is zero in all three.
    assert batch.images[:, 7, 7].tolist() == [[0, 0, 0], [0, 0, 0], [7, 7, 1], [7, 7, 2]]
    assert batch.labels.tolist() == [3, 0, 1, 2]

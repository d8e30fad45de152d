"""Growth: power laws by hand, which points are begun, tables and pictures of made-up rows."""

import itertools
import sys

import pytest

from gtn_jax.benchmark import growth, run
from gtn_jax.benchmark.command import tables
from gtn_jax.benchmark.growth import (
    Point,
    curves,
    expected_seconds,
    exponent,
    growth_plan,
    reason_to_skip,
)
from gtn_jax.benchmark.markdown import growth_table
from gtn_jax.benchmark.rows import Row, write_document
from gtn_jax.benchmark.spec import Group, Spec
from gtn_jax.cli.main import main

MACHINE = dict.fromkeys(("jax", "flax", "torch", "python", "date", "command"), "1") | {
    "cpu": "a processor",
    "device": "cpu",
    "platform": "cpu",
    "threads": 2,
}


def rate(axis: str, place, value: float) -> Row:
    extra = {growth.AXES[axis].key: place, "groups": [f"growth_{axis}"]}
    return Row(f"train_step/{axis}{place}", "gtn_jax", value, "images/s", 3, extra)


def sent(devices: int, size: float) -> Row:
    extra = {"devices": devices, "groups": ["growth_devices"]}
    return Row(f"collectives{devices}", "gtn_jax", size, "bytes/step", 1, extra)


ROWS = [
    # 10 ms an image at every batch; at 64 px 4, at 128 px 8 times what 32 px take.
    *(rate("batch", batch, 100.0) for batch in (1, 8, 64)),
    *(rate("image_size", side, speed) for side, speed in ((32, 800.0), (64, 200.0), (128, 25.0))),
    *(rate("depth", f"resnet{n}", 900.0 / n) for n in (50, 18)),
    *(sent(devices, size) for devices, size in ((1, 0), (2, 400), (4, 400))),
    rate("devices", 4, 1.0),
]  # fmt: skip


def test_exponent_of_a_power_law():
    assert exponent([(1, 3), (2, 12), (4, 48), (8, 192)]) == pytest.approx(2)
    assert exponent([(1, 5), (10, 5)]) == pytest.approx(0)
    assert exponent([(1, 5)]) is None
    assert exponent([(1, 0), (2, 5)]) is None


def test_curves():
    assert curves(ROWS, "batch") == {"ms an image": [(1, 10), (8, 10), (64, 10)]}
    (shallow, low), (deep, high) = curves(ROWS, "depth")["ms an image"]
    assert (shallow, low, deep, high) == (18, 20, 50, pytest.approx(1000 / 18))
    # Forced devices share cores: no time of theirs.
    assert curves(ROWS, "devices") == {"bytes a step": [(1, 0), (2, 400), (4, 400)]}
    assert curves(ROWS, "classes") == {}


def test_table_marks_what_is_worse_than_linear():
    lines = growth_table(ROWS, "image_size").split("\n")
    assert "Linear would be the exponent 2." in lines
    assert "| 32 | 1.25 | █ |  |" in lines
    assert "| 64 | 5.00 | ██ | 2.00 |" in lines
    assert any(line.startswith("| 128 | 40.0 |") and "3.00 **worse" in line for line in lines)
    assert "| all | | | 2.50 **worse than linear** |" in lines
    assert "worse" not in growth_table(ROWS, "batch")
    assert "| 2 | 400 | ████████████████████ |  |" in growth_table(ROWS, "devices")


def test_points_are_estimated_from_their_axis():
    small, large = Spec("train_step", batch_size=2), Spec("train_step", batch_size=20)
    # First step, settling and repeats are 0.1 + 11 x 0.1 + 2 x 0.5 s of 22.2, and then 1 + 1 + 8
    # (the longest settling) + 2 x 1.
    assert expected_seconds(large, [Point(small, 22.2, 0.1)]) == pytest.approx(20 + 12)
    # Of 68 s 4 x 10 are steps, and 8 of settling; then 4 x 100, and 8.
    assert expected_seconds(large, [Point(small, 68, 10)]) == pytest.approx(20 + 408)
    assert expected_seconds(small, [Point(large, 68, 10)]) == pytest.approx(68)
    # Twice the layers compile for twice as long.
    double = Spec("train_step", batch_size=2, backbone="resnet100")
    assert expected_seconds(double, [Point(small, 22.2, 0.1)]) == pytest.approx(40 + 3.4)
    # A data set is decoded whole.
    few, many = (Spec("dataset_start", images=n) for n in (10, 50))
    assert expected_seconds(many, [Point(few, 3)]) == 15
    assert reason_to_skip(many, [Point(few, 3)], 15) is None
    assert reason_to_skip(many, [Point(few, 3)], 10) == "about 15 s expected, 10 s were left"
    assert reason_to_skip(small, [], 10) is not None
    deep = Spec("train_step", backbone="resnet100", batch_size=1)
    assert growth.work(deep) == growth.work(small)


def test_a_point_is_measured_once_or_says_why_not(monkeypatch):
    """Two axes share their first point; the clock says that the last one comes too late."""
    clock = itertools.count(0, 10)
    monkeypatch.setattr(run.time, "monotonic", lambda: float(next(clock)))
    begun = []

    def measure_group(children, group, soft, deadline):
        begun.append(group.specs[0])
        return [Row(group.specs[0].name, "gtn_jax", 1.0, "images/s", 1, {"seconds": [4.0]})]

    monkeypatch.setattr(run, "measure_group", measure_group)
    first, last = Spec("train_step"), Spec("train_step", batch_size=1600)
    groups = [
        Group("growth_batch", (first,), axis="batch"),
        Group("growth_depth", (first,), axis="depth"),
        Group("growth_depth", (last,), axis="depth"),
    ]
    rows = run.measure(groups, 5.0, lambda line: None, lambda rows: None)
    assert begun == [first]
    assert rows[0].extra["groups"] == ["growth_batch", "growth_depth"]
    # Steps of 4 s, a hundred times larger: 4 x 400, and 8 of settling.
    assert rows[1].value is None and "about 1608 s expected" in rows[1].extra["reason"]


def test_plan_begins_with_what_is_cheap():
    groups = growth_plan("cpu")
    assert {group.axis for group in groups} == set(growth.AXES)
    assert all(group.name == f"growth_{group.axis}" for group in groups)
    costs = [growth.work(group.specs[0]) for group in groups]
    assert costs == sorted(costs)
    assert groups[-1].specs[0].images == 1_000_000


def test_pictures(tmp_path, capsys):
    """One an axis, the same bytes each time, shown by the page."""
    pytest.importorskip("matplotlib")
    path, plots = tmp_path / "g.json", tmp_path / "docs"
    write_document(path, MACHINE, ROWS)
    assert main(["benchmark", "--show", str(path), "--plots", str(plots)]) == 0
    printed = capsys.readouterr().out
    files = {file.name: file.read_bytes() for file in plots.iterdir()}
    axes = ("batch", "depth", "devices", "image_size")
    assert sorted(files) == [f"growth_{axis}.svg" for axis in axes]
    assert all(f"(growth_{axis}.svg)" in printed for axis in axes)
    tables([path, path], plots)
    tables([path], plots)
    assert files == {file.name: file.read_bytes() for file in plots.iterdir()}
    assert b"side of an image, pixels" in files["growth_image_size.svg"]
    assert max(map(len, files.values())) < 40_000


def test_pictures_of_nothing(tmp_path, capsys, monkeypatch):
    path = tmp_path / "f.json"
    write_document(path, MACHINE, [Row("step", "gtn_jax", 1.0, "images/s", 1)])
    assert main(["benchmark", "--show", str(path), "--plots", str(tmp_path / "docs")]) == 1
    assert "no file is of `gtn benchmark --growth`" in capsys.readouterr().err
    assert main(["benchmark", "--plots", str(tmp_path / "docs")]) == 2
    assert "--plots: of which files?" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["benchmark", "--show", str(path), "--plots", str(tmp_path / "docs")]) == 1
    assert 'pip install "gtn_jax[plots]"' in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["f.json"]

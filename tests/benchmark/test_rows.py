"""Statistics by hand, rows there and back, tables."""

import json

import pytest

from gtn_jax.benchmark.rows import (
    FIELDS,
    Row,
    comparison_rows,
    median_row,
    not_measured,
    page,
    paired_ratios,
    read_document,
    row_from_json,
    write_document,
)
from gtn_jax.benchmark.spec import Spec
from gtn_jax.cli.main import main

MACHINE = {
    "command": "gtn benchmark --out F.json",
    "date": "2025-01-01",
    "cpu": "a processor",
    "threads": 2,
    "python": "3.11",
    "jax": "1",
    "flax": "2",
    "torch": None,
    "platform": "cpu",
    "device": "cpu",
}


def test_quartiles_by_hand():
    def spread(*values):
        row = median_row("step", "a", values, "images/s")
        low, high = row.extra["spread"]
        return low, row.value, high

    assert spread(4.0, 1.0, 3.0, 2.0, 5.0) == (2.0, 3.0, 4.0)
    # Between four values lie three intervals, and a quarter of the way is 1 + 0.75 * 1.
    assert spread(1.0, 2.0, 3.0, 4.0) == (1.75, 2.5, 3.25)
    assert spread(7.0) == (7.0, 7.0, 7.0)


def test_paired_ratios_cancel_a_slow_round():
    # The second round is ten times slower for both: the ratio of medians would be 2.0 by luck only.
    ours, theirs = [20.0, 2.0, 22.0], [10.0, 1.0, 10.0]
    assert paired_ratios(ours, theirs) == [2.0, 2.0, 2.2]
    row = median_row("step/ratio", "a / b", paired_ratios(ours, theirs), "ratio")
    assert (row.value, row.repeats) == (2.0, 3)
    assert row.extra["spread"] == pytest.approx([2.0, 2.1])
    with pytest.raises(ValueError):
        paired_ratios([1.0], [1.0, 2.0])


def test_document_there_and_back(tmp_path):
    path = tmp_path / "new" / "f.json"
    rows = [
        Row("step", "gtn_jax", 2.5, "images/s", 3, {"seconds": [1.0, 2.0, 3.0]}),
        not_measured("step", "torch_nchw", "images/s", "torch is not installed"),
    ]
    write_document(path, MACHINE, rows)
    assert read_document(path) == (MACHINE, rows)
    written = json.loads(path.read_text())["rows"]
    assert all(set(FIELDS) <= set(row) for row in written)
    assert written[1]["value"] is None and written[1]["reason"]
    assert [entry.name for entry in path.parent.iterdir()] == ["f.json"]


@pytest.mark.parametrize(
    "row",
    [
        {"name": "step", "framework": "flax", "value": None, "unit": "s", "repeats": 0},
        {"name": "step", "framework": "flax", "value": 1.0, "unit": "s"},
    ],
)
def test_bad_row_is_refused(row):
    with pytest.raises(ValueError, match="without"):
        row_from_json(row)


def test_other_file_is_named(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"x\.json: not a file of"):
        read_document(path)


def test_comparison_with_each_peer_and_with_the_best():
    ours = Spec("train_step")
    nchw, last = (Spec("train_step", "torch", layout) for layout in ("nchw", "channels_last"))
    flax = Spec("train_step", "flax")
    rates = {ours: [3.0, 3.0, 3.0], nchw: [1.0, 1.0, 1.0], last: [2.0, 1.5, 2.0], flax: []}
    rows = {row.framework: row for row in comparison_rows((ours, flax, nchw, last), rates)}
    assert rows["gtn_jax / torch_nchw"].value == 3.0
    assert rows["gtn_jax / torch_best"].value == 1.5
    assert rows["gtn_jax / torch_best"].extra["best"] == "channels_last"
    assert rows["gtn_jax / torch_best"].extra["ratios"] == [1.5, 2.0, 1.5]
    assert rows["gtn_jax / flax"].value is None
    assert rows["gtn_jax / flax"].extra["reason"] == "no figure of flax"
    assert {row.name for row in rows.values()} == {f"{ours.name}/ratio"}


def test_name_of_a_spec():
    spec = Spec("train_step", "torch", "nchw", classes=10)
    assert spec.label == "torch_nchw"
    assert spec.name == "train_step/resnet50/224px/batch16/float32/classes10"


def test_page_says_what_is_missing_and_puts_ratios_first():
    rows = [
        Row("step", "gtn_jax", 1234.5, "images/s", 3, {"spread": [1000.0, 1300.0]}),
        not_measured("step", "torch_nchw", "images/s", "torch is not installed"),
        Row("step/ratio", "gtn_jax / flax", 1.25, "ratio", 3, {"spread": [1.2, 1.3]}),
    ]
    text = page([(MACHINE, rows)])
    assert "| step/ratio | gtn_jax / flax | 1.25 | 1.20 to 1.30 | 3 |" in text
    assert "| step | gtn_jax | 1,234 images/s | 1,000 to 1,300 | 3 |" in text
    assert "| step | torch_nchw | not measured: torch is not installed |  |  |" in text
    assert text.index("### Ratios") < text.index("### Rates")
    assert text.index("a processor") < text.index("## GPU\n\nnot measured")
    assert page([]) == "## CPU\n\nnot measured\n\n## GPU\n\nnot measured\n"


def test_old_files_are_shown(tmp_path, capsys):
    """Rows of workloads that no longer exist stand beside the others."""
    path, extra = tmp_path / "g.json", {"groups": ["growth_devices"], "devices": 2, "kinds": {}}
    rows = [
        Row("convolutions/resnet50/forward/64to64_1x1s1", "gtn_jax", 165.0, "GFLOP/s", 3,
            {"spread": [158.0, 166.0], "of_matmul": 0.999}),
        Row("train_step/resnet18/devices2/collectives", "gtn_jax", 400.0, "bytes/step", 1, extra),
    ]  # fmt: skip
    write_document(path, MACHINE, rows)
    assert main(["benchmark", "--show", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "| convolutions/resnet50/forward/64to64_1x1s1 | gtn_jax | 165 GFLOP/s |" in printed
    assert "| train_step/resnet18/devices2/collectives | gtn_jax | 400 bytes/step |" in printed

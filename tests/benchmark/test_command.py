"""`gtn benchmark` from one end to the other, on tiny shapes; and the groups that it offers."""

import json
from dataclasses import replace

import pytest

from gtn_jax.benchmark import plan, run
from gtn_jax.benchmark.rows import FIELDS
from gtn_jax.benchmark.spec import Group, Spec
from gtn_jax.cli.main import main

# Unoptimized programs compile in a third of the time, and nobody reads their speed.
STEP = Spec("train_step", backbone="resnet8_wide", image_size=16, batch_size=4,
            env=(("XLA_FLAGS", "--xla_backend_optimization_level=0"),))  # fmt: skip
FLAX = replace(STEP, framework="flax", backbone="resnet20")
TORCH = [replace(STEP, framework="torch", variant=name) for name in ("nchw", "channels_last")]
PRODUCTS = [Spec("matmul", framework, size=64) for framework in ("jax", "torch")]
INPUT = [replace(STEP, kind=kind, images=8) for kind in ("input_streamed", "input_decode")]
FROZEN, EVALUATION = replace(STEP, kind="frozen_step"), replace(STEP, kind="evaluation")
FILES = replace(STEP, kind="end_to_end", images=8)
TINY = [
    Group("limits", (Spec("copy", "numpy", size=1), *PRODUCTS), compares=False),
    Group("input", tuple(INPUT), compares=False),
    Group("step", (STEP, FLAX, *TORCH)),
    Group("frozen", (FROZEN, STEP)),
    Group("end_to_end", (FILES, STEP)),
    Group("evaluation", (EVALUATION,)),
    Group("startup", (STEP,), rounds=(1, 1), starts=True, weight=0.1),
]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Tiny groups, and children that find a PyTorch which is not there."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')\n")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    groups = [group if group.starts else replace(group, rounds=(1, 2)) for group in TINY]
    monkeypatch.setattr(plan, "groups", lambda platform: groups)
    monkeypatch.setattr(run, "_REPEAT_SECONDS", 0.01)


def rows_of(path) -> dict:
    document = json.loads(path.read_text())
    assert document["machine"]["platform"] == "cpu"
    assert document["machine"]["command"].startswith("gtn benchmark --out")
    for row in document["rows"]:
        assert set(FIELDS) <= set(row)
        assert row["value"] is not None or row["reason"]
    return {(row["name"].split("/")[0], row["framework"]): row for row in document["rows"]}


@pytest.mark.slow
def test_missing_peer_is_null_with_reason(tmp_path, tiny, capsys):
    out = tmp_path / "f.json"
    assert main(["benchmark", "--out", str(out), "--only", "limits", "step", "evaluation"]) == 0
    found = rows_of(out)
    assert found["copy", "numpy"]["value"] > 0
    assert found["matmul", "torch"]["value"] is None
    assert found["matmul", "torch"]["reason"] == "torch is not installed"
    assert found["evaluation", "gtn_jax"]["value"] > 0
    assert found["train_step", "gtn_jax / flax"]["repeats"] >= 1
    assert found["train_step", "torch_nchw"]["reason"] == "torch is not installed"
    assert found["train_step", "gtn_jax / torch_best"]["value"] is None
    capsys.readouterr()
    assert main(["benchmark", "--show", str(out)]) == 0
    assert "not measured: torch is not installed" in capsys.readouterr().out


def test_no_time_is_a_reason_and_wrong_use_an_error(tmp_path, capsys):
    out = tmp_path / "f.json"
    assert main(["benchmark"]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["benchmark", "--out", str(out), "--only", "stepp"]) == 2
    assert "did you mean step" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["benchmark", "--out", str(out), "--minutes", "0"]) == 0
    rows = rows_of(out).values()
    reasons = {row["reason"] for row in rows if row["unit"] != "ratio"}
    assert reasons == {"the time of the run was over"}
    assert all(row["value"] is None for row in rows)


@pytest.mark.release
def test_every_path(tmp_path, tiny):
    out = tmp_path / "f.json"
    assert main(["benchmark", "--out", str(out)]) == 0
    found = rows_of(out)
    kinds = ("train_step", "frozen_step", "end_to_end", "evaluation")
    for kind in (*kinds, "input_streamed", "input_decode"):
        assert found[kind, "gtn_jax"]["value"] > 0, kind
    assert found["end_to_end", "gtn_jax"]["images_are"].startswith("on the device")
    assert found["input_streamed", "gtn_jax"]["images_are"].startswith("streamed")
    assert found["train_step", "flax"]["value"] > 0
    assert found["train_step", "gtn_jax / flax"]["repeats"] >= 1
    assert found["train_step", "gtn_jax / torch_best"]["value"] is None
    assert found["start", "warm / cold"]["value"] > 0


def test_plans_name_no_row_twice():
    for platform in ("cpu", "gpu"):
        groups = plan.groups(platform)
        assert len({group.name for group in groups}) == len(groups)
        for group in groups:
            keys = [(spec.name, spec.label) for spec in group.specs]
            assert len(set(keys)) == len(keys), group.name
    assert [group.name for group in plan.choose(groups, ["frozen"])] == ["frozen"]

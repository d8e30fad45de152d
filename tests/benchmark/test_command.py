"""`gtn benchmark` from one end to the other, on tiny shapes."""

import json

import pytest

from gtn_jax.benchmark.rows import FIELDS
from gtn_jax.cli.main import main


@pytest.fixture
def no_torch(tmp_path, monkeypatch):
    """Children that find a PyTorch which is not there."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')\n")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")


def rows_of(path) -> dict:
    document = json.loads(path.read_text())
    assert document["machine"]["platform"] == "cpu"
    assert document["machine"]["command"].startswith("gtn benchmark --quick")
    for row in document["rows"]:
        assert set(FIELDS) <= set(row)
        assert row["value"] is not None or row["reason"]
    return {(row["name"].split("/")[0], row["framework"]): row for row in document["rows"]}


@pytest.mark.slow
def test_missing_peer_is_null_with_reason(tmp_path, no_torch, capsys, monkeypatch):
    out = tmp_path / "f.json"
    groups = ["limits", "step", "evaluation"]
    assert main(["benchmark", "--quick", "--out", str(out), "--only", *groups]) == 0
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


def test_no_time_is_a_reason(tmp_path):
    out = tmp_path / "f.json"
    assert main(["benchmark", "--quick", "--out", str(out), "--minutes", "0"]) == 0
    rows = rows_of(out).values()
    reasons = {row["reason"] for row in rows if row["unit"] != "ratio"}
    assert reasons == {"the time of the run was over"}
    assert all(row["value"] is None for row in rows)


def test_usage(tmp_path, capsys):
    assert main(["benchmark"]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["benchmark", "--out", str(tmp_path / "f.json"), "--only", "stepp"]) == 2
    assert "did you mean step" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.release
def test_quick_run(tmp_path, no_torch):
    out = tmp_path / "f.json"
    assert main(["benchmark", "--quick", "--out", str(out)]) == 0
    found = rows_of(out)
    for kind in ("train_step", "frozen_step", "end_to_end", "evaluation"):
        assert found[kind, "gtn_jax"]["value"] > 0, kind
    for kind, place in (
        ("end_to_end", "on the device"),
        ("input_streamed", "streamed"),
        ("input_resident", "on the device"),
    ):
        assert found[kind, "gtn_jax"]["value"] > 0, kind
        assert found[kind, "gtn_jax"]["images_are"].startswith(place)
    assert found["train_step", "flax"]["value"] > 0
    assert found["train_step", "gtn_jax / flax"]["repeats"] >= 1
    for layout in ("nchw", "channels_last"):
        assert found["train_step", f"torch_{layout}"]["reason"] == "torch is not installed"
        assert found["train_step", f"gtn_jax / torch_{layout}"]["value"] is None
    assert found["train_step", "gtn_jax / torch_best"]["value"] is None
    assert found["start", "warm / cold"]["value"] > 0
    shares = [r for r in json.loads(out.read_text())["rows"] if r["name"].endswith("flops/ratio")]
    assert [0 < row["value"] <= 0.4 for row in shares] == [True]

"""docs/tour.ipynb, run from the first cell to the last as one program."""

import json
from pathlib import Path

import pytest

TOUR = Path(__file__).parent.parent / "docs" / "tour.ipynb"


def cells(kind: str) -> list[str]:
    found = json.loads(TOUR.read_text(encoding="utf-8"))
    assert found["nbformat"] == 4
    return ["".join(cell["source"]) for cell in found["cells"] if cell["cell_type"] == kind]


def test_no_output_is_stored_and_every_step_has_words():
    found = json.loads(TOUR.read_text(encoding="utf-8"))["cells"]
    assert all(not cell["outputs"] for cell in found if cell["cell_type"] == "code")
    assert len(cells("markdown")) >= 7


@pytest.mark.release
def test_runs(monkeypatch, tmp_path, capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pytest.importorskip("flatbuffers")
    pyplot.switch_backend("agg")
    monkeypatch.setenv("HOME", str(tmp_path))  # prepared digits go there
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names: dict = {"__name__": "tour"}
    for number, cell in enumerate(cells("code")):
        exec(compile(cell, f"tour.ipynb, code cell {number}", "exec"), names)
    pyplot.close("all")
    printed = capsys.readouterr().out
    assert "aux_logits (4, 10) float32" in printed
    assert "model.stablehlo" in printed and "(2, 10) [1. 1.]" in printed
    assert names["summary"]["test_accuracy"] > 0.8

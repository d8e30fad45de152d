"""Pages of made-up runs: what they say, what they leave out, whose text they escape."""

import json
import re
import shutil

import numpy as np
import pytest

from gtn_jax.analysis import report
from gtn_jax.analysis.report import write_report
from gtn_jax.cli.main import main
from gtn_jax.config import Config, DataConfig, TrainingConfig
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.runs.predictions import SavedPredictions

LABELS = np.array([0, 0, 0, 1, 1, 2], np.int32)
PREDICTED = np.array([0, 0, 1, 1, 0, 1], np.int32)
OWN = np.array([0.9, 0.8, 0.2, 0.7, 0.1, 0.3], np.float32)


def made_up(path, classes=("ant", "bee", "<script>cat"), split="test") -> RunFolder:
    folder = RunFolder(path)
    config = Config(data=DataConfig(name="folder:/nowhere", data_dir="/nowhere"))
    folder.start(config, tuple(classes), Preprocessing((0.5,) * 3, (0.5,) * 3))
    folder.append_start({"step": 0, "started": "now", "command": "gtn train <x>", "jax": "0.9"})
    folder.append_start({"step": 7, "started": "later", "command": "gtn train", "jax": "0.10"})
    for epoch, loss in enumerate((2.0, 1.0)):
        row = {"step": epoch + 1, "epoch": epoch + 1.0, "loss": loss, "accuracy": 0.5}
        folder.append({**row, "split": "train", "learning_rate_head": 0.1,
                       "learning_rate_backbone": 0.0})  # fmt: skip
        folder.append({**row, "split": "validation"})
    files = np.array([f"{number}<b>.png" for number in range(6)])
    said = SavedPredictions(files, LABELS, PREDICTED, 1 - OWN / 2, OWN)
    summary = {"selected_step": 2, f"{split}_accuracy": 0.5, f"{split}_images": 6}
    folder.finish(summary, {split: said})
    return folder


def cells(written: str, heading: str) -> list[list[str]]:
    """The table below a heading, as text."""
    section = written[written.index(f"<h2>{heading}</h2>") :]
    body = section[section.index("<tbody>") : section.index("</tbody>")]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    return [
        [re.sub("<[^>]+>", "", c) for c in re.findall(r"<td>(.*?)</td>", r, re.S)] for r in rows
    ]


def test_run_by_hand(tmp_path):
    made_up(tmp_path / "run")
    out = write_report([tmp_path / "run"])
    assert out == tmp_path / "run" / "report.html"
    written = out.read_text()
    assert "50.00 % of 6 test images correct" in written
    assert cells(written, "Confusion matrix") == [
        ["ant", "2", "1", "·"], ["bee", "1", "1", "·"], ["&lt;script&gt;cat", "·", "1", "·"]
    ]  # fmt: skip
    # The lowest accuracy first.
    assert [row[:3] for row in cells(written, "Accuracy by class")] == [
        ["&lt;script&gt;cat", "1", "0.0"], ["bee", "2", "50.0"], ["ant", "3", "66.7"]
    ]  # fmt: skip
    # Of what is wrong, that of the lowest probability of its label first.
    wrong = written[written.index("Most wrong") :]
    assert re.findall(r"(\d)&lt;b&gt;.png", wrong)[:3] == ["4", "2", "5"]
    assert "No images: the run's data set is missing or has changed" in wrong
    assert "<script" not in written and "<b>" not in written
    assert written.count("<polyline") == 6  # three charts of two curves
    assert '"name": "folder:/nowhere"' in written.replace("&quot;", '"')
    assert "gtn evaluate" in written and "Started: <code>gtn train &lt;x&gt;</code>" in written
    assert "now, jax 0.9<" in written and "Resumed at step 7: <code>gtn train</code>" in written


def test_more_classes_than_a_matrix_shows(tmp_path):
    made_up(tmp_path / "run", [f"class {number}" for number in range(31)])
    written = write_report([tmp_path / "run"]).read_text()
    assert cells(written, "The 20 most confused pairs") == [
        ["class 0", "class 1", "1"], ["class 1", "class 0", "1"], ["class 2", "class 1", "1"]
    ]  # fmt: skip
    assert len(cells(written, "The 20 classes with the lowest accuracy")) == 3


def test_what_is_not_there_is_left_out(tmp_path):
    folder = made_up(tmp_path / "old")
    for name in ("predictions.npz", "digests.json"):
        (tmp_path / "old" / name).unlink()
    assert "from an older version" in write_report([folder.path]).read_text()
    assert (
        "not evaluated on validation" in write_report([folder.path], None, "validation").read_text()
    )
    (tmp_path / "old" / "summary.json").unlink()
    written = write_report([folder.path]).read_text()
    assert "not finished" in written and "Confusion" not in written and "<polyline" in written
    assert "Most wrong" not in written
    with pytest.raises(ValueError, match="holds no run"):
        write_report([tmp_path])
    with pytest.raises(ValueError, match="looks at test or validation, not 'tset'"):
        write_report([folder.path], None, "tset")
    for place in ("absent/page.html", "old/classes.json/page.html"):
        with pytest.raises(ValueError, match="no such folder; make it first"):
            write_report([folder.path], tmp_path / place)
    with pytest.raises(ValueError, match="out: where to"):
        write_report([folder.path, folder.path])


def test_run_without_test_images_shows_validation(tmp_path):
    folder = made_up(tmp_path / "run", split="validation")
    written = write_report([folder.path]).read_text()
    assert "50.00 % of 6 validation images correct" in written and "Most wrong" in written


def test_gate_pictures_are_inside(tmp_path):
    folder = made_up(tmp_path / "run")
    (folder.path / "gates").mkdir()
    (folder.path / "gates" / "similar_classes.png").write_bytes(b"picture")
    written = write_report([folder.path, folder.path], tmp_path / "page.html").read_text()
    assert written.count('alt="The gate: similar classes"') == 2
    assert "data:image/png;base64,cGljdHVyZQ==" in written


def test_comparison(tmp_path):
    (tmp_path / "tuning.jsonl").write_text("")
    with pytest.raises(ValueError, match="a comparison without a final run yet"):
        write_report([tmp_path])
    (tmp_path / "results.jsonl").write_text('{"method": "gate"}\n')
    with pytest.raises(ValueError, match="results.jsonl, line 1: no 'seed'"):
        write_report([tmp_path])
    for name, rows in {
        "results.jsonl": [
            # At a rate that was given up when the grid went on.
            {"method": "gate", "seed": 0, "learning_rate": 0.2, "accuracy": 0.1, "seconds": 1.0,
             "parameters": 10},
        ] + [
            {"method": m, "seed": s, "learning_rate": 0.1, "accuracy": a, "seconds": 2.0,
             "parameters": 10, "trained_parameters": 9, "best_test_accuracy": 0.9}
            for m, s, a in (("gate", 0, 0.6), ("finetune", 0, 0.5), ("gate", 1, 0.8),
                            ("finetune", 1, 0.6))
        ],
        "tuning.jsonl": [
            {"method": "gate", "learning_rate": r, "seed": 1000, "accuracy": r, "loss": 1.0}
            for r in (0.1, 0.22)
        ] + [
            {"method": "gate", "learning_rate": 0.1, "head_learning_rate": 1.0, "seed": s,
             "accuracy": a, "loss": 1.0}
            for s, a in ((1000, 0.3), (1001, 0.4))
        ],
    }.items():  # fmt: skip
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = write_report([tmp_path]).read_text()
    assert "70.00 ± 14.14" in written and "+15.00" in written and "[+10.00, +20.00]" in written
    assert cells(written, "Validation accuracy % at each pair of rates") == [
        ["0.1", "0.1", "10.0"], ["0.1", "1", "35.0"], ["0.22", "0.22", "22.0"]
    ]  # fmt: skip


def test_real_run_shows_its_images(finished_run, tmp_path, capsys, monkeypatch):
    shutil.copytree(finished_run, tmp_path / "run")
    assert main(["report", str(tmp_path / "run")]) == 0
    assert str(tmp_path / "run" / "report.html") in capsys.readouterr().out
    written = (tmp_path / "run" / "report.html").read_text()
    assert written.count("data:image/jpeg;base64,") == 24
    assert "No images" not in written
    damaged = re.findall(r'alt="([^:"]+): ', written)[0]

    def decode(encoded, short_side, file):
        if file == damaged:
            raise ValueError("damaged by now")
        return np.zeros((short_side, short_side, 3), np.uint8)

    monkeypatch.setattr(report, "decode_whole", decode)
    again = write_report([tmp_path / "run"]).read_text()
    assert again.count("data:image/jpeg;base64,") == 23 and "No images" not in again
    assert TrainingConfig().epochs != 1 and '"epochs": 1' in written.replace("&quot;", '"')


def test_training_loss_is_drawn_without_the_auxiliary_term(tmp_path):
    """As validation's is; rows of older versions say the whole loss only."""
    folder = made_up(tmp_path / "run")
    assert 'loss: train ends at 1; validation ends at 1"' in write_report([folder.path]).read_text()
    rows = [row | {"classifier_loss": row["loss"] / 4} for row in folder.rows()]
    folder = RunFolder(tmp_path / "new")
    shutil.copytree(tmp_path / "run", folder.path)
    for name in ("metrics.jsonl", "digests.json"):
        (folder.path / name).unlink()
    for row in rows:
        folder.append(row)
    written = write_report([folder.path]).read_text()
    assert 'loss: train ends at 0.25; validation ends at 1"' in written

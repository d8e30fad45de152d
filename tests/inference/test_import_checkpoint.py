"""A checkpoint of the authors' script -> a run -> their state dict again, bit for bit.

Their network has one width, so this is ResNet-50 with drawn numbers; the one forward that is
computed is on small images.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gtn_jax.cli.main import main
from gtn_jax.inference.import_checkpoint import import_checkpoint, read_classes
from gtn_jax.inference.restore import restore
from gtn_jax.inference.torch_export import export_torch
from gtn_jax.runs.folder import RunFolder

torch = pytest.importorskip("torch")
CLASSES = 3


@pytest.fixture(scope="module")
def state(rule) -> dict[str, torch.Tensor]:
    """The authors' names and shapes, drawn numbers, counters that differ from 0."""
    drawn = rule.draw(rule.gtn_shapes(CLASSES), seed=2)
    tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in drawn.items()}
    counters = [name for name in tensors if name.endswith("num_batches_tracked")]
    return tensors | {name: torch.tensor(5900 + i) for i, name in enumerate(counters)}


@pytest.fixture(scope="module")
def checkpoint(state, tmp_path_factory) -> Path:
    """`model_best.pth` with everything that their script puts in."""
    folder = tmp_path_factory.mktemp("theirs")
    content = {
        "epoch": 57,
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
        "best_pred": torch.tensor(71.5),
        "errlist_train": [torch.tensor(3.0)],
        "errlist_val": [torch.tensor(4.0)],
    }
    torch.save(content, folder / "model_best.pth")
    (folder / "classes.txt").write_text("banded\nblotchy\nbraided\n")
    return folder / "model_best.pth"


@pytest.fixture(scope="module")
def run(checkpoint) -> Path:
    """The run folder, made by the command."""
    path = checkpoint.parent / "run"
    classes = checkpoint.with_name("classes.txt")
    assert main(["convert", str(checkpoint), str(path), "--classes", str(classes)]) == 0
    return path


def test_run_folder(run, checkpoint):
    folder = RunFolder(run)
    config, model = folder.config(), folder.config().model
    assert folder.classes() == ("banded", "blotchy", "braided")
    assert folder.preprocessing() == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (model.backbone, model.gate, model.gate_reduction) == ("resnet50", "sigmoid", 16)
    assert (model.gate_dropout, model.classifier_dropout, model.aux_weight) == (0.7, 0.5, 0.2)
    assert (config.data.image_size, config.data.name, model.weights) == (224, "none", None)
    assert folder.summary() == {"selected_step": 0, "converted_from": "model_best.pth"}
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == [
        *("classes.txt", "model_best.pth", "run")
    ]


def test_same_outputs_as_their_model(run, state, reference):
    """Evaluation mode against PyTorch, from the run folder."""
    network = reference.TorchGTN(CLASSES)
    network.load_state_dict(state, strict=True)
    images = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        logits, aux = network.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    restored = restore(run)
    forward = jax.jit(lambda variables, x: restored.model.apply(variables, x, False))
    outputs = forward(restored.variables, jnp.asarray(images))
    np.testing.assert_allclose(outputs.logits, logits, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(outputs.aux_logits, aux, rtol=1e-3, atol=1e-4)


def test_round_trip_is_bit_exact_and_loads_strictly(run, state, checkpoint, reference, tmp_path):
    out = tmp_path / "out"
    assert main(["export", str(run), "--to", "torch", "--out", str(out)]) == 0
    found = torch.load(out / "gtn.pth", weights_only=True)
    assert sorted(found) == sorted(state)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    network = reference.TorchGTN(CLASSES)
    network.load_state_dict(found, strict=True)
    # The names come along, so the way back needs nothing else.
    again = import_checkpoint(
        out / "gtn.pth", tmp_path / "again", out / "classes.txt", "none", "nowhere"
    )
    assert again == (tmp_path / "again", "resnet50", 3)
    with pytest.raises(ValueError, match="out exists already"):
        export_torch(run, out)


@pytest.mark.slow
def test_predict_accepts_it(run, tmp_path):
    image = tmp_path / "photo.png"
    Image.fromarray(np.full((300, 240, 3), 90, np.uint8)).save(image)
    assert main(["predict", str(run), str(image), "--out", str(tmp_path / "p.json")]) == 0
    (row,) = json.loads((tmp_path / "p.json").read_text())
    assert sorted(row["classes"]) == ["banded", "blotchy", "braided"]
    assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_evaluate_without_data_or_with_other_classes(run, capsys, data_dir):
    assert main(["evaluate", str(run)]) == 1
    assert "run has no data set" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--data", "digits", "--data_dir", data_dir]) == 1
    assert "knows 3 classes, digits has 10" in capsys.readouterr().err


def test_evaluate_on_another_data_set(drawn_run, data_dir, capsys):
    """A run whose class names are not the data's is refused; with equal names it is evaluated."""
    assert main(["evaluate", str(drawn_run), "--data", "digits", "--data_dir", data_dir]) == 1
    assert "class 0 is 'digit 0' in" in capsys.readouterr().err
    (drawn_run / "digests.json").unlink()  # a run that was made by hand
    (drawn_run / "classes.json").write_text(json.dumps([str(digit) for digit in range(10)]))
    assert main(["evaluate", str(drawn_run), "--data", "digits", "--data_dir", data_dir]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 500


def test_export_refuses_other_models(drawn_run, tmp_path):
    with pytest.raises(ValueError, match="model.stages is 2, the authors' model has 4 stages"):
        export_torch(drawn_run, tmp_path / "out")
    (drawn_run / "digests.json").unlink()  # a run that was made by hand
    config = json.loads((drawn_run / "config.json").read_text())
    config["model"]["gate"] = "half"
    (drawn_run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="model.gate is half, the authors' model has sigmoid"):
        export_torch(drawn_run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def refuse(message: str, *arguments):
    with pytest.raises(ValueError, match=message) as caught:
        import_checkpoint(*arguments, "none", "nowhere")
    assert len(str(caught.value).splitlines()) <= 3


def test_refusals_leave_nothing(checkpoint, run, tmp_path, state):
    names, new = checkpoint.with_name("classes.txt"), tmp_path / "new"
    refuse("run: exists already", checkpoint, run, names)
    refuse("no such folder", checkpoint, tmp_path / "no" / "where", names)
    refuse("give them, one a line: `classes_file=FILE`", checkpoint, new, None)
    refuse("no such weights file", tmp_path / "nothing.pth", new, names)
    torch.save({"conv1.weight": torch.ones(1)}, tmp_path / "other.pth")
    refuse("not a checkpoint of the GTN authors' script", tmp_path / "other.pth", new, names)
    short = dict(state)
    del short["layer4.0.2.bn3.weight"]
    torch.save({"state_dict": short}, tmp_path / "short.pth")
    refuse(r"1 tensors do not fit the model \(1 missing\)", tmp_path / "short.pth", new, names)
    del short["fc.0.weight"]
    torch.save({"state_dict": short}, tmp_path / "short.pth")
    refuse(r"no matrix fc\.0\.weight", tmp_path / "short.pth", new, names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.pth", "short.pth"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\n", "2 names for 3 classes"),
        ("a\n\nb\n", "line 2: an empty line"),
        ("a\nb\na\n", "line 3: 'a' again"),
    ],
)
def test_class_names(text, message, tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_classes(path, 3)
    path.write_bytes("\ufeffcaf\u00e9 \r\nb\r\nc\r\n\r\n".encode())
    assert read_classes(path, 3) == ("caf\u00e9", "b", "c")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not readable as text"):
        read_classes(path, 3)


def test_a_failed_write_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr("gtn_jax.runs.folder.RunFolder.finish", fail)
    with pytest.raises(OSError, match="no space"):
        import_checkpoint(
            checkpoint, tmp_path / "run", checkpoint.with_name("classes.txt"), "none", "x"
        )
    assert list(tmp_path.iterdir()) == []

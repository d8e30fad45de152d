"""The small files of a run, and the manifest of a checkpoint."""

import json

import numpy as np
import pytest

from gtn_jax.config import Config
from gtn_jax.config.serialization import to_json
from gtn_jax.runs import manifest
from gtn_jax.runs.folder import RunFolder
from tests.fuzz.fuzzing import at_most_a_refusal, changed, damaged, fuzz, st

pytestmark = pytest.mark.slow


def small_files() -> dict[str, bytes]:
    """Of a finished run."""
    rows = [{"step": step, "epoch": step / 5, "split": "train", "loss": 2.5} for step in (1, 2, 3)]
    return {
        "config.json": to_json(Config()).encode(),
        "classes.json": b'["cat", "dog"]',
        "preprocessing.json": b'{"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}',
        "data.json": b'{"train": {"images": 4, "sha256": "00"}}',
        "metrics.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode(),
        "summary.json": b'{"steps": 3, "selected_step": 2, "selected_on": "validation"}',
    }


@st.composite
def spoiled_file(draw):
    """Name and content of one file of a run folder."""
    name = draw(st.sampled_from(list(small_files())))
    sound = small_files()[name]
    if name == "metrics.jsonl" or draw(st.booleans()):
        return name, draw(damaged(sound))
    return name, draw(changed(json.loads(sound))).encode()


@fuzz(400, spoiled=spoiled_file())
def test_run_folders(room, spoiled):
    for name, content in (small_files() | dict([spoiled])).items():
        (room / name).write_bytes(content)
    folder = RunFolder(room)
    for read in (
        lambda: folder.check(Config()),
        folder.config,
        lambda: all(isinstance(name, str) for name in folder.classes()) or 1 / 0,
        lambda: np.zeros(3) / np.array(folder.preprocessing().std, np.float32),
        lambda: folder.check_data({"train": {"images": 4, "sha256": "00"}}),
        folder.summary,
        folder.rows,
        lambda: folder.rewind(2),
    ):
        with at_most_a_refusal(str(room)):
            read()


STEP = {"state/a": bytes(range(64)), "state/d/b": b"0123456789", "position.json": b'{"images": 7}'}


@fuzz(300, data=st.data())
def test_manifests(room, data):
    """No damage to any byte of a saved step passes."""
    folder = room / "7"
    for name, content in STEP.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    manifest.seal(folder, 7, 0.5, {"params": "float32 4x4"})
    path = folder / data.draw(st.sampled_from([*STEP, manifest.NAME]))
    sound = path.read_bytes()
    is_other_json = path.name == manifest.NAME and data.draw(st.booleans())
    spoiled = changed(json.loads(sound)).map(str.encode) if is_other_json else damaged(sound)
    path.write_bytes(data.draw(spoiled))
    if path.read_bytes() == sound:
        manifest.verify(folder)
        return
    for read in (
        (manifest.read, manifest.verify) if path.name == manifest.NAME else (manifest.verify,)
    ):
        with pytest.raises(ValueError) as refused:
            read(folder)
        assert 1 <= len(str(refused.value).splitlines()) <= 3
        assert path.name in str(refused.value)

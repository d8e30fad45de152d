"""Config files and command lines."""

import contextlib
import io
import json

import pytest

from gtn_jax.cli.main import main
from gtn_jax.config import Config
from gtn_jax.config.serialization import flatten, from_json, to_json
from gtn_jax.training import loop
from tests.fuzz.fuzzing import at_most_a_refusal, changed, damaged, fuzz, st

pytestmark = pytest.mark.slow


@fuzz(300, text=changed(json.loads(to_json(Config()))) | damaged(to_json(Config()).encode()))
def test_config_files(room, text):
    path = room / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with at_most_a_refusal(str(path)):
        config = from_json(path)
        path.write_text(to_json(config))
        assert from_json(path) == config


FIELDS = flatten(Config())
WORDS = (
    st.sampled_from([*FIELDS, "workdir", "preset", "debug", "help", "data", "", "seed="])
    | st.text(max_size=12)
).map(lambda word: f"--{word}")
VALUES = (
    st.sampled_from([str(value) for value in FIELDS.values()] + ["-1", "nan", "None", "", "1e999"])
    | st.integers().map(str)
    | st.floats().map(str)
    | st.text(max_size=12)
)


@fuzz(150, words=st.lists(st.tuples(WORDS, VALUES), max_size=3), bare=st.lists(VALUES, max_size=1))
def test_command_lines(room, words, bare):
    arguments = [*(part for pair in words for part in pair), *bare]
    said, printed = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "run", lambda *_, **options: {"learning_rate": "none"})
        patch.chdir(room)
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
            try:
                code = main(["train", "quickstart", "--workdir", "run", *arguments])
            except SystemExit as stopped:
                code = stopped.code
    assert code in (0, 1, 2)
    assert "a fault of gtn_jax" not in said.getvalue(), said.getvalue()
    lines = said.getvalue().splitlines()
    assert len(lines) <= 3 and (code == 0 or lines[0].startswith("error: ")), lines
    assert list(room.iterdir()) == []

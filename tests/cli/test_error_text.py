"""What `gtn` prints of an error: the library's arguments as options, calls as commands."""

import ast
import re
from pathlib import Path

import pytest

import gtn_jax
from gtn_jax.cli.catalog import CATALOGUE
from gtn_jax.cli.commands import VERBS
from gtn_jax.cli.completion import completion, words_after
from gtn_jax.cli.error_text import describe_error, option
from gtn_jax.errors import ArgumentError

TEXTS = [
    path.read_text()
    for path in Path(gtn_jax.__file__).parent.rglob("*.py")
    if path.parent.name != "cli"
]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ArgumentError("short_side", "invalid value 0"), "--short-side: invalid value 0"),
        (ArgumentError("paths", "none given"), "PATH: none given"),
        (ArgumentError("out", "a.csv exists; pass `overwrite=True`"),
         "--out: a.csv exists; pass `--overwrite`"),
        (ValueError("give one, `data_name=NAME`\nor not"), "give one, `--data NAME`\nor not"),
        (ValueError("once: `prepare('dtd/1', source=PATH, data_dir='my data', short_side=64)`"),
         "once: `gtn prepare dtd/1 --source PATH --data-dir 'my data' --short-side 64`"),
        (ValueError("`unfold_file('a.pth', NEW.safetensors, images=FOLDER)`"),
         "`gtn convert a.pth NEW.safetensors --images FOLDER`"),
        (OSError("`gtn check-data a=b` lists them"), "`gtn check-data a=b` lists them"),
        (ValueError("try `jnp.array(x, dtype=object)` or `axis=1`"),
         "try `jnp.array(x, dtype=object)` or `axis=1`"),
        (ValueError("`source=it's`"), "`source=it's`"),
    ],
)  # fmt: skip
def test_words(error, words):
    assert describe_error(error) == words


def test_argument_error_says_its_argument():
    error = ArgumentError("topk", "0, expected at least 1")
    assert isinstance(error, ValueError) and str(error) == "topk: 0, expected at least 1"


def test_every_argument_is_an_option():
    script = completion("bash", VERBS, words_after(VERBS, tuple(CATALOGUE)))
    arguments = {name for text in TEXTS for name in re.findall(r'ArgumentError\(\s*"(\w+)"', text)}
    assert {"topk", "out", "profiled"} <= arguments
    options = set(map(option, arguments)) - {"PATH", "EXPERIMENT"}
    assert [name for name in options if f" {name} " not in script.replace('"', " ")] == []


def test_every_hint_is_translated():
    calls = [
        ast.unparse(node)
        for text in TEXTS
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ValueError", "ArgumentError")
    ]
    hints = {hint for call in calls for hint in re.findall(r"`\w+=[^`]+`", call)}
    assert {"`allow_partial=True`", "`images=FOLDER`", "`process=NUMBER`"} <= hints
    assert [hint for hint in hints if describe_error(ValueError(hint)) == hint] == []

"""Every `gtn ...` line of README, docs and experiments is one that the command line understands.

A line is read as its verb reads it, and stopped before anything is done; of what is only mentioned
in a sentence the options must exist. That verbs then work is their own tests', and the first ten
minutes of a user are test_walk.py's.
"""

import contextlib
import functools
import importlib
import io
import re
import shlex
from pathlib import Path

import pytest

from gtn_jax.cli import arguments
from gtn_jax.cli.main import VERBS, main

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("experiments/*.py"),
        *ROOT.glob("gtn_jax/weights/assets/*.md"),
    ]
)
# Words that stand for something -> something; and what means "more of the like".
STANDS_FOR = {
    "EXPERIMENT": "quickstart",
    "DATASET": "dtd/1",
    "RATE": "0.1",
    "F": "1",
    "N": "3",
    "...": "",
    "--section.field": "",
    "VALUE": "",
    "DIR": "somewhere",
    "&": "",
}
FILES = re.compile(r"\b(mine|my_photos|my_experiment)\.py\b")


def lines_of(text: str) -> list[str]:
    """`gtn VERB ...` of code blocks and of tables' first columns, continued lines
    distributed_session."""
    text = re.sub(r"\\\n\s*", " ", text)
    lines = re.findall(r"^(?:    |\$ )?(gtn [a-z].*)$", text, re.M)
    rows = re.findall(r"^\| `(gtn [a-z][^`]*)`", text, re.M)
    return [re.split(r"\s{3,}|: | \| |;| # ", line)[0] for line in [*lines, *rows]]


def mentions_of(text: str) -> list[str]:
    """`gtn VERB ...` in sentences."""
    return re.findall(r"(?<!\| )`(gtn [a-z][^`]*)`", text)


def found(kind) -> list[tuple[str, str]]:
    pages = {(page.name, line) for page in PAGES for line in kind(page.read_text())}
    return sorted((page, " ".join(line.split())) for page, line in pages)


def test_there_are_many():
    assert len(found(lines_of)) > 60 and len(found(mentions_of)) > 30
    assert ("command_line.md", "gtn evaluate RUN [--split test]") in found(lines_of)


def words_of(line: str) -> list[str]:
    words = [word.strip("[]") for word in shlex.split(FILES.sub("quickstart", line))]
    return [word for word in (STANDS_FOR.get(word, word) for word in words) if word][1:]


@pytest.mark.parametrize(("page", "line"), found(lines_of))
def test_line_is_understood(page, line, monkeypatch, capsys, tmp_path):
    # Where the folders of the pages are.
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    for folder in ("photos", "PATH"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)

    class Understood(Exception):
        pass

    parse = arguments.parse

    def parse_only(*given):
        parse(*given)
        raise Understood

    monkeypatch.setattr(arguments, "parse", parse_only)
    for room in ("analysis", "fit", "training"):
        monkeypatch.setattr(
            importlib.import_module(f"gtn_jax.cli.commands.{room}"), "parse", parse_only
        )
    assert main(words_of(line)) == 1
    assert "Understood" in capsys.readouterr().err


@functools.cache
def help_of(verb: str) -> str:
    said = io.StringIO()
    experiment = ["quickstart"] if verb in ("train", "compare") else []
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        main([verb, *experiment, "--help"])
    return said.getvalue().replace("-", "_")


@pytest.mark.parametrize(("page", "line"), found(mentions_of))
def test_what_is_mentioned_exists(page, line):
    verb, *others = words_of(line)
    for word in others:
        option = word.replace("-", "_")
        if word.startswith("--") and word != "--help":
            assert re.search(rf"{re.escape(option)}(?![\w.])", help_of(verb)), word
    assert verb in VERBS

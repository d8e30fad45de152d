"""Rows that say what a run was made with."""

import importlib.metadata
import sys

import pytest

from gtn_jax.runs.provenance import start_row, versions


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (["/usr/bin/gtn", "train", "my photos"], "gtn train 'my photos'"),
        (["/home/me/gtn_jax/__main__.py", "quickstart"], "python -m gtn_jax quickstart"),
    ],
)
def test_row_says_how_it_was_started(typed, command, monkeypatch):
    monkeypatch.setattr(sys, "argv", typed)
    row = start_row("4 x cpu", 12)
    assert row["command"] == command
    assert row["step"] == 12 and row["devices"] == "4 x cpu"
    assert row["jax"] == importlib.metadata.version("jax")
    assert row["python"] == ".".join(map(str, sys.version_info[:3]))
    assert row["started"].endswith("+00:00")


def test_a_package_that_is_not_installed_has_no_version():
    assert versions(["no-such-package"]) == {"no-such-package": None}

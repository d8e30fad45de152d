"""The checker of bad input: what a command that refuses may say, return and leave behind."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from gtn_jax.cli.main import main


def run_cli(arguments: Sequence[object]) -> int:
    """The exit code of `gtn ARGUMENTS`, in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return int(stopped.code or 0)


def check(found: int, output: str, error: str, says: str | Sequence[str], code: int) -> None:
    """One to three lines that hold every part of `says` (a path or field among them), `code`.

    Args:
        found: the exit code.
        output: standard output.
        error: standard error; "note " and "device " lines are no part of the refusal.
        says: a part of the message, or several.
        code: the exit code that it should be.
    """
    assert found == code, error
    assert "Traceback" not in output + error
    lines = [line for line in error.splitlines() if not line.startswith(("note ", "device "))]
    assert 1 <= len(lines) <= 3, error
    assert lines[0].startswith("error: "), error
    assert len(error) < 3000
    for part in [says] if isinstance(says, str) else says:
        assert part in error, error


@contextlib.contextmanager
def nothing_written(root: Path, except_below: Sequence[Path] = ()) -> Iterator[None]:
    """Whether the body leaves `root` as it was: names, kinds and contents of everything in it."""
    before = _state(root, except_below)
    yield
    assert _state(root, except_below) == before


def _state(root: Path, except_below: Sequence[Path]) -> dict[str, str]:
    state = {}
    for path in sorted(root.rglob("*")):
        if any(path.is_relative_to(folder) for folder in except_below):
            continue
        if path.is_symlink():
            state[str(path)] = f"link to {path.readlink()}"
        elif path.is_file():
            state[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            state[str(path)] = "folder" if path.is_dir() else "special"
    return state

"""JSON lines files. A truncated last line, from a process that died, is ignored. Does not import
jax."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gtn_jax.files import append_text, write_text


def read_rows(path: Path, fields: Sequence[str] = ()) -> list[dict[str, Any]]:
    """All complete rows of a .jsonl file; none if it does not exist.

    Raises ValueError if a line is not a JSON object, or lacks one of the `fields`.
    """
    return parse_rows(path.read_bytes(), path, fields) if path.exists() else []


def parse_rows(content: bytes, path: Path, fields: Sequence[str] = ()) -> list[dict[str, Any]]:
    """`read_rows` of the content of `path`."""
    rows = []
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number}: not JSON ({error}); mend or remove it"
            ) from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: not a JSON object; repair or remove it")
        for field in fields:
            if field not in row:
                raise ValueError(f"{path}, line {number}: no {field!r}; mend or remove it")
        rows.append(row)
    return rows


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append a row to a .jsonl file, which is created if missing; drops a truncated last line."""
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        write_text(path, "".join(json.dumps(row) + "\n" for row in read_rows(path)))
    append_text(path, json.dumps(row) + "\n")

"""The JSON files of a run folder (folder.py), each checked for the form that a run writes.

No jax here.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any


def parse(content: bytes, path: Path, is_right: Callable[[Any], bool]) -> Any:
    """JSON of the form that this version writes.

    Args:
        content: of the file.
        path: of the file, for the error.
        is_right: one of the checks below.

    Raises:
        ValueError: not JSON, or of another form.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable ({error})") from error
    if not is_right(found):
        raise ValueError(f"{path}: not readable (not what a run writes there)")
    return found


def are_names(found: Any) -> bool:
    """Whether it is a list of class names."""
    return isinstance(found, list) and all(isinstance(name, str) for name in found)


def is_preprocessing(found: Any) -> bool:
    """Whether it is mean and std of three channels, the std above 0."""
    if not isinstance(found, dict) or not found.keys() >= {"mean", "std"}:
        return False
    rows = [found["mean"], found["std"]]
    if not all(isinstance(row, list) and len(row) == 3 for row in rows):
        return False
    numbers = [value for row in rows for value in row]
    is_finite = all(type(value) in (int, float) and math.isfinite(value) for value in numbers)
    return is_finite and min(found["std"]) > 0


def are_fingerprints(found: Any) -> bool:
    """Whether it is split -> fingerprint of its images."""
    return isinstance(found, dict) and all(
        isinstance(part, dict) and "images" in part for part in found.values()
    )


def is_summary(found: Any) -> bool:
    """Whether it is what a finished run sums up."""
    return isinstance(found, dict) and isinstance(found.get("selected_step"), int | None)


def is_source(found: Any) -> bool:
    """Whether it says where weights come from, which differs from one origin to the other."""
    return isinstance(found, dict)

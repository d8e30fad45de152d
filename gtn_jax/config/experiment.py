"""Experiment files: Python files that define `CONFIG`, run by path and never imported.

Shipped ones are referred to by name. Anything else in the file is ignored.
"""

import runpy
from pathlib import Path

from gtn_jax.config import Config
from gtn_jax.errors import ArgumentError, unknown_name

_HERE = Path(__file__).parent.parent


def shipped_folder() -> Path:
    """The folder of shipped experiments, in an installed wheel or in a checkout."""
    packaged = _HERE / "experiments"
    return packaged if packaged.is_dir() else _HERE.parent / "experiments"


def shipped_experiments() -> dict[str, Path]:
    """Name -> file of every shipped experiment: the files that assign CONFIG."""
    files = sorted(shipped_folder().glob("*.py"))
    return {path.stem: path for path in files if "\nCONFIG" in path.read_text(encoding="utf-8")}


def load_experiment(name: str) -> Config:
    """The CONFIG of a shipped experiment or of a file.

    Args:
        name: of a shipped experiment, e.g. "quickstart", or a path that ends in `.py`.

    Raises:
        ValueError: no such experiment, or a file that fails or has no CONFIG.
    """
    shipped = shipped_experiments()
    path = Path(name) if name.endswith(".py") else shipped.get(name)
    if path is None:
        raise ArgumentError("name", str(unknown_name("experiment", name, shipped)))
    if not path.is_file():
        raise ArgumentError(
            "name", f"{path}: no such experiment file; shipped: {', '.join(shipped)}"
        )
    try:
        config = runpy.run_path(str(path)).get("CONFIG")
    except Exception as error:  # whatever a user's Python can raise
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    if not isinstance(config, Config):
        raise ValueError(f"{path}: holds no CONFIG = gtn_jax.config.Config(...)")
    return config

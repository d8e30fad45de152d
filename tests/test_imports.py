"""Imports flow one way: a file imports from its own room and from rooms above it, never below."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gtn_jax"
ROOMS = (
    (
        "errors",
        "files",
        "fields",
        "config",
        "config_json",
        "config_migration",
        "presets",
        "experiment",
        "arrays",
    ),
    ("data",),
    ("models",),
    ("weights",),
    ("training",),
    ("inference",),
    ("analysis",),
    ("benchmark",),
    (
        "arguments",
        "terminal",
        "process",
        "doctor",
        "catalogue",
        "completion",
        "verbs",
        "cli",
        "__main__",
    ),
)
FILES = sorted(PACKAGE.rglob("*.py"))
# The root offers public names lazily and, for type checkers only, by import.
CHECKED = [path for path in FILES if path != PACKAGE / "__init__.py"]


def level(room: str) -> int:
    for number, names in enumerate(ROOMS):
        if room in names:
            return number
    raise AssertionError(f"gtn_jax/{room} has no place in ROOMS")


def imported_modules(path: Path) -> list[str]:
    """Every module of ours that a file imports, at any depth of the file."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    return [module for module in modules if module.split(".")[0] == "gtn_jax"]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def upward_imports(room: str, modules: list[str]) -> list[str]:
    found = []
    for module in modules:
        other = module.split(".")[1]
        apart = {room, other} == {"models", "data"}
        if level(other) > level(room) or apart:
            found.append(module)
    return found


@pytest.mark.parametrize("path", CHECKED, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_flow_one_way(path):
    assert upward_imports(room_of(path), imported_modules(path)) == []


def test_upward_import_is_seen():
    assert upward_imports("data", ["gtn_jax.training.loop"]) == ["gtn_jax.training.loop"]
    assert upward_imports("models", ["gtn_jax.data.augment"]) == ["gtn_jax.data.augment"]
    assert upward_imports("training", ["gtn_jax.config.Config"]) == []


def test_package_never_imports_experiments_tensorflow_or_torch_at_the_top():
    for path in FILES:
        top = ast.parse(path.read_text()).body
        names = {
            alias.name.split(".")[0]
            for node in top
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {(node.module or "").split(".")[0] for node in top if isinstance(node, ast.ImportFrom)}
        assert not names & {"experiments", "tensorflow", "torch"}, path


def test_experiments_import_nothing_heavy():
    light = {"gtn_jax.config", "gtn_jax.experiment", "gtn_jax.analysis.methods", "gtn_jax.presets"}
    for path in sorted((ROOT / "experiments").glob("*.py")):
        modules = {module.rsplit(".", 1)[0] for module in imported_modules(path)}
        # One brings modules of its own; help on it has to import JAX.
        assert modules <= light or path.stem == "gate_variants", path

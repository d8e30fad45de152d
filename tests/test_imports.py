"""Imports flow one way: a file imports from its own room and from rooms above it, never below.

And the command line is known in cli/ alone.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gtn_jax"
ROOMS = (
    ("errors", "files", "arrays", "devices", "config"),
    ("data",),
    ("models",),
    ("weights",),
    ("runtime",),
    ("runs",),
    ("training",),
    ("inference",),
    ("analysis",),
    ("benchmark",),
    ("cli", "__main__"),
)
"""Folders and files of the package, lowest first."""
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


def command_line_words(text: str) -> list[str]:
    """Options and errors of usage; not XLA's flags, pip's, and the variables of a style sheet."""
    words = re.findall(r"(?<![\w-])--[a-z][\w-]*|UsageError|SystemExit|argparse|\btyro\b", text)
    others = r"--(xla_\w+|upgrade|line|soft|strong|other)"
    return [word for word in words if not re.fullmatch(others, word)]


def test_only_cli_knows_the_command_line():
    library = [path for path in FILES if room_of(path) not in ("cli", "__main__")]
    assert len(library) > 100
    found = {str(path): command_line_words(path.read_text()) for path in library}
    assert {path: words for path, words in found.items() if words} == {}


def test_option_is_seen():
    assert command_line_words('f"{x}; use --workdir", "--out: none"') == ["--workdir", "--out"]
    assert command_line_words("raise UsageError") == ["UsageError"]
    assert command_line_words("# --- a - -b x--y; var(--soft), --xla_cpu_use_onednn=true") == []


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
    light = {
        "gtn_jax.config",
        "gtn_jax.config.experiment",
        "gtn_jax.analysis.methods",
        "gtn_jax.config.presets",
    }
    for path in sorted((ROOT / "experiments").glob("*.py")):
        modules = {module.rsplit(".", 1)[0] for module in imported_modules(path)}
        # One brings modules of its own; help on it has to import JAX.
        assert modules <= light or path.stem == "gate_variants", path

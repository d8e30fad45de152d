"""Fixtures of the weights tests: the golden rule, the PyTorch reference, the shared weights."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).parents[1]
SHARED = TESTS.parents[1] / "shared" / "weights"


def _load(path: Path) -> ModuleType:
    # pytest's importlib mode puts no test folder on sys.path, so helpers are loaded by file.
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def rule() -> ModuleType:
    """tests/golden/rule.py."""
    return _load(TESTS / "golden" / "rule.py")


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """tests/reference/torch_resnet.py; skips where PyTorch is not installed."""
    pytest.importorskip("torch")
    return _load(TESTS / "reference" / "torch_resnet.py")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of third-party weights beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("third-party weights are not part of the project (../shared/weights)")
    return SHARED


@pytest.fixture(scope="session")
def huggingface() -> ModuleType:
    """tests/reference/huggingface_resnet.py; skips where PyTorch is not installed."""
    pytest.importorskip("torch")
    return _load(TESTS / "reference" / "huggingface_resnet.py")
